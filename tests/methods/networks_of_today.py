"""Recurrent networks of today in a few lines each, written from their equations: the layer of each, before a head.

Inputs are float[B, T, D]. The head of all reads the last state and the mean of the states.
"""

import torch
from torch import nn
from torch.nn import functional as F

D, H, K = 3, 6, 2


class Headed(nn.Module):
    """A layer of states float[B, T, H], and scores of its last state and of the mean."""

    def __init__(self, layer, width=H):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(2 * width, K)

    def forward(self, x):
        states = self.layer(x)
        return self.head(torch.cat([states[:, -1], states.mean(1)], 1))


class MatrixLstm(nn.Module):
    """mLSTM of Beck et al. 2024, equations 19 to 27: matrix memory, exponential gates, stabilised; with group norm."""

    def __init__(self, heads=2):
        super().__init__()
        self.heads, self.size = heads, H // heads
        self.qkv, self.gates, self.out = nn.Linear(D, 3 * H, bias=False), nn.Linear(D, 2 * heads), nn.Linear(D, H)
        self.norm = nn.GroupNorm(heads, H)

    def forward(self, x):
        batch, steps, _ = x.shape
        q, k, v = (part.view(batch, steps, self.heads, self.size) for part in self.qkv(x).chunk(3, -1))
        i, f = self.gates(x).chunk(2, -1)
        memory = x.new_zeros(batch, self.heads, self.size, self.size)
        norm, highest, states = x.new_zeros(batch, self.heads, self.size), x.new_zeros(batch, self.heads), []
        for t in range(steps):
            kept = F.logsigmoid(f[:, t]) + highest
            stable = torch.maximum(kept, i[:, t])
            forget, enter = torch.exp(kept - stable)[..., None], torch.exp(i[:, t] - stable)[..., None]
            key = k[:, t] / self.size**0.5
            memory = forget[..., None] * memory + enter[..., None] * v[:, t, :, :, None] * key[:, :, None]
            norm, highest = forget * norm + enter * key, stable
            least = torch.maximum((norm * q[:, t]).sum(-1, keepdim=True).abs(), torch.exp(-stable)[..., None])
            states.append((memory @ q[:, t, :, :, None]).squeeze(-1) / least)
        found = torch.stack(states, 1).reshape(batch * steps, H)
        return torch.sigmoid(self.out(x)) * self.norm(found).view(batch, steps, H)


class ScalarLstm(nn.Module):
    """sLSTM of Beck et al. 2024, equations 8 to 17: exponential gates with a normaliser and a stabiliser."""

    def __init__(self):
        super().__init__()
        self.gates = nn.Linear(D + H, 4 * H)

    def forward(self, x):
        h = c = n = m = x.new_zeros(len(x), H)
        states = []
        for step in x.unbind(1):
            z, i, f, o = self.gates(torch.cat([step, h], 1)).chunk(4, 1)
            kept = F.logsigmoid(f) + m
            m = torch.max(kept, i)
            enter, forget = torch.exp(i - m), torch.exp(kept - m)
            c, n = forget * c + enter * torch.tanh(z), forget * n + enter
            h = torch.sigmoid(o) * c / n
            states.append(h)
        return torch.stack(states, 1)


class Mamba(nn.Module):
    """Selective state space block of Gu & Dao 2023, algorithm 2, with its convolution, gate and RMS norm."""

    def __init__(self, states=4):
        super().__init__()
        self.enter, self.conv = nn.Linear(D, 2 * H), nn.Conv1d(H, H, 3, groups=H, padding=2)
        self.select, self.step = nn.Linear(H, 2 * states + 1, bias=False), nn.Linear(1, H)
        self.poles = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(H, 1))
        self.skip, self.leave, self.norm = nn.Parameter(torch.ones(H)), nn.Linear(H, H), nn.RMSNorm(H)

    def forward(self, x):
        u, gate = self.enter(x).chunk(2, -1)
        u = F.silu(self.conv(u.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        b, c, step = self.select(u).split([self.poles.shape[1]] * 2 + [1], -1)
        step = F.softplus(self.step(step))
        decay = torch.exp(step[..., None] * -torch.exp(self.poles))
        enter = step[..., None] * b[:, :, None] * u[..., None]
        h, out = torch.zeros_like(enter[:, 0]), []
        for t in range(x.shape[1]):
            h = decay[:, t] * h + enter[:, t]
            out.append(torch.einsum("bhn,bn->bh", h, c[:, t]))
        return self.leave(self.norm((torch.stack(out, 1) + u * self.skip) * F.silu(gate)))


class Lru(nn.Module):
    """Linear recurrent unit of Orvieto et al. 2023: a complex diagonal, normalised, and a GLU."""

    def __init__(self):
        super().__init__()
        self.size, self.angle = nn.Parameter(torch.linspace(-2, 0, H)), nn.Parameter(torch.linspace(0.1, 3, H))
        self.real, self.imaginary = nn.Linear(D, H, bias=False), nn.Linear(D, H, bias=False)
        self.out, self.skip, self.glu = nn.Linear(2 * H, H), nn.Linear(D, H), nn.Linear(H, 2 * H)

    def forward(self, x):
        decay = torch.exp(-torch.exp(self.size))
        pole = torch.polar(decay, self.angle)
        enter = torch.complex(self.real(x), self.imaginary(x)) * (1 - decay**2).sqrt()
        state, states = torch.zeros_like(enter[:, 0]), []
        for step in enter.unbind(1):
            state = pole * state + step
            states.append(state)
        found = torch.view_as_real(torch.stack(states, 1)).flatten(2)
        return F.glu(self.glu(F.gelu(self.out(found) + self.skip(x))), -1)


class S5(nn.Module):
    """S5 of Smith et al. 2023: complex diagonal state space, zero-order hold, all steps by a convolution of the FFT."""

    def __init__(self, states=4):
        super().__init__()
        self.poles = nn.Parameter(torch.stack([-torch.rand(states) - 0.1, torch.randn(states)], -1))
        self.enter, self.leave = nn.Parameter(torch.randn(states, D, 2)), nn.Parameter(torch.randn(H, states, 2))
        self.step = nn.Parameter(torch.zeros(states))

    def forward(self, x):
        poles, step = torch.view_as_complex(self.poles), torch.exp(self.step)
        discrete = torch.exp(poles * step)
        scaled = (discrete - 1) / poles
        enter = x.to(poles.dtype) @ (scaled[:, None] * torch.view_as_complex(self.enter)).T
        steps = x.shape[1]
        kernel = discrete[None] ** torch.arange(steps).to(poles.real.dtype)[:, None]
        spectrum = torch.fft.fft(enter, 2 * steps, dim=1) * torch.fft.fft(kernel, 2 * steps, dim=0)
        states = torch.fft.ifft(spectrum, dim=1)[:, :steps]
        return F.gelu(2 * (states @ torch.view_as_complex(self.leave).T).real)


class RetNet(nn.Module):
    """Retention of Sun et al. 2023 as a recurrence, equations 3 to 8, with rotations, group norm and a swish gate."""

    def __init__(self):
        super().__init__()
        self.qkv, self.gate, self.norm = nn.Linear(D, 3 * H), nn.Linear(D, H), nn.GroupNorm(2, H, affine=False)
        self.angles = nn.Parameter(torch.linspace(0.3, 1.5, H // 2), requires_grad=False)

    def rotated(self, part, t):
        pairs = torch.view_as_complex(part.reshape(*part.shape[:-1], H // 2, 2))
        return torch.view_as_real(pairs * torch.exp(1j * t * self.angles)).flatten(-2)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        state, states = x.new_zeros(len(x), H, H), []
        for t in range(x.shape[1]):
            state = 0.9 * state + self.rotated(k[:, t], t)[:, :, None] * v[:, t, None]
            states.append(self.norm((self.rotated(q[:, t], t)[:, None] @ state).squeeze(1)))
        return F.silu(self.gate(x)) * torch.stack(states, 1)


class Rwkv(nn.Module):
    """RWKV-4 of Peng et al. 2023, equations 11 to 20: token shift, the stable WKV recurrence, and channel mixing."""

    def __init__(self):
        super().__init__()
        self.embed, self.first, self.second = nn.Linear(D, H), nn.LayerNorm(H), nn.LayerNorm(H)
        self.mix, self.decay, self.bonus = (
            nn.Parameter(torch.rand(5, H)),
            nn.Parameter(torch.rand(H)),
            nn.Parameter(torch.rand(H)),
        )
        self.rkv, self.out = nn.ModuleList(nn.Linear(H, H, bias=False) for _ in range(3)), nn.Linear(H, H, bias=False)
        self.channel = nn.ModuleList(nn.Linear(H, H, bias=False) for _ in range(3))

    def mixed(self, x, number):
        before = F.pad(x, (0, 0, 1, -1))
        return x * self.mix[number] + before * (1 - self.mix[number])

    def forward(self, x):
        x = self.embed(x)
        y = self.first(x)
        r, k, v = (layer(self.mixed(y, number)) for number, layer in enumerate(self.rkv))
        above = below = torch.zeros_like(x[:, 0])
        highest, found = torch.full_like(above, -1e38), []
        for t in range(x.shape[1]):
            top = torch.maximum(highest, self.bonus + k[:, t])
            old, new = torch.exp(highest - top), torch.exp(self.bonus + k[:, t] - top)
            found.append((old * above + new * v[:, t]) / (old * below + new))
            top = torch.maximum(highest - self.decay.exp(), k[:, t])
            old, new = torch.exp(highest - self.decay.exp() - top), torch.exp(k[:, t] - top)
            above, below, highest = old * above + new * v[:, t], old * below + new, top
        x = x + self.out(torch.sigmoid(r) * torch.stack(found, 1))
        y = self.second(x)
        receive, key, value = self.channel
        return x + torch.sigmoid(receive(self.mixed(y, 3))) * value(torch.relu(key(self.mixed(y, 4))).square())


class Cfc(nn.Module):
    """Closed-form continuous-time cell of Hasani et al. 2022, equation 10, with the time between steps as a feature."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(D - 1 + H, 8), nn.SiLU())
        self.heads = nn.Linear(8, 4 * H)

    def forward(self, x):
        h, states = x.new_zeros(len(x), H), []
        for step in x.unbind(1):
            one, two, a, b = self.heads(self.backbone(torch.cat([step[:, 1:], h], 1))).chunk(4, 1)
            share = torch.sigmoid(a * step[:, :1] + b)
            h = one.tanh() * (1 - share) + share * two.tanh()
            states.append(h)
        return torch.stack(states, 1)


class Ltc(nn.Module):
    """Liquid time-constant cell of Hasani et al. 2021: fused steps of the semi-implicit solver, with synapses."""

    def __init__(self):
        super().__init__()
        self.enter, self.mean, self.spread = (
            nn.Linear(D, H),
            nn.Parameter(torch.rand(H, H)),
            nn.Parameter(torch.rand(H, H) + 1),
        )
        self.weight, self.reverse = nn.Parameter(torch.rand(H, H)), nn.Parameter(torch.randn(H, H))

    def forward(self, x):
        v, states = x.new_zeros(len(x), H), []
        for step in x.unbind(1):
            current = torch.sigmoid(self.enter(step))
            for _ in range(3):
                open_ = F.softplus(self.weight) * torch.sigmoid(self.spread * (v[:, :, None] - self.mean))
                v = (2 * v + 0.3 + current + (open_ * self.reverse).sum(1)) / (2.3 + current + open_.sum(1) + 1e-8)
            states.append(v)
        return torch.stack(states, 1)


class MinGru(nn.Module):
    """minGRU of Feng et al. 2024 in log space, algorithm 8: a parallel scan by logcumsumexp."""

    def __init__(self):
        super().__init__()
        self.gate, self.hidden = nn.Linear(D, H), nn.Linear(D, H)

    def forward(self, x):
        k, g = self.gate(x), self.hidden(x)
        log_h = torch.where(g >= 0, (F.relu(g) + 0.5).log(), -F.softplus(-g))
        decay = F.pad((-F.softplus(k)).cumsum(1), (0, 0, 1, 0))
        values = torch.cat([torch.full_like(k[:, :1], 0.5).log(), -F.softplus(-k) + log_h], 1)
        return torch.exp(decay + torch.logcumsumexp(values - decay, 1))[:, 1:]


class Tcn(nn.Module):
    """Temporal convolutional network of Bai et al. 2018: dilated causal convolutions with weight norm and residuals."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(nn.Conv1d(D if level == 0 else H, H, 2, dilation=2**level))
            for level in range(3)
        )
        self.down = nn.Conv1d(D, H, 1)

    def forward(self, x):
        y = x.transpose(1, 2)
        for level, layer in enumerate(self.layers):
            kept = self.down(y) if level == 0 else y
            y = torch.relu(torch.relu(layer(F.pad(y, (2**level, 0)))) + kept)
        return y.transpose(1, 2)


class ConvLstm(nn.Module):
    """ConvLSTM of Shi et al. 2015, equation 3: an LSTM whose states are planes, with peepholes."""

    def __init__(self):
        super().__init__()
        self.gates = nn.Conv2d(1 + 2, 8, 3, padding=1)
        self.peep = nn.Parameter(torch.randn(3, 2, D, 1) * 0.3)

    def forward(self, x):
        h = c = x.new_zeros(len(x), 2, D, 1)
        states = []
        for step in x.unbind(1):
            i, f, g, o = self.gates(torch.cat([step[:, None, :, None], h], 1)).chunk(4, 1)
            c_new = torch.sigmoid(f + self.peep[0] * c) * c + torch.sigmoid(i + self.peep[1] * c) * torch.tanh(g)
            h, c = torch.sigmoid(o + self.peep[2] * c_new) * torch.tanh(c_new), c_new
            states.append(F.max_pool2d(h, (2, 1), 1).flatten(1).repeat(1, 2)[:, :H])
        return torch.stack(states, 1)


class GruD(nn.Module):
    """GRU-D of Che et al. 2018, equations 3 to 12: small values count as missing and decay to the mean."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.randn(D) * 0.2, requires_grad=False)
        self.decay, self.hidden = nn.Parameter(torch.rand(D)), nn.Linear(D, H)
        self.cell = nn.GRUCell(2 * D, H)

    def forward(self, x):
        mask = (x.abs() > 0.3).to(x.dtype)
        h, last, gap, states = x.new_zeros(len(x), H), torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            m = mask[:, t]
            gap = 1 + (1 - m) * gap
            share = torch.exp(-torch.relu(self.decay * gap))
            last = torch.where(m > 0, x[:, t], last)
            value = m * x[:, t] + (1 - m) * (share * last + (1 - share) * self.mean)
            h = self.cell(torch.cat([value, m], 1), torch.exp(-torch.relu(self.hidden(gap))) * h)
            states.append(h)
        return torch.stack(states, 1)


class TimeLstm(nn.Module):
    """T-LSTM of Baytas et al. 2017: short-term memory is discounted by the time that passed, here the first feature."""

    def __init__(self):
        super().__init__()
        self.short, self.gates = nn.Linear(H, H), nn.Linear(D + H, 4 * H)

    def forward(self, x):
        h = c = x.new_zeros(len(x), H)
        states = []
        for step in x.unbind(1):
            short = torch.tanh(self.short(c))
            c = c - short + short / torch.log(torch.e + step[:, :1].abs())
            i, f, g, o = self.gates(torch.cat([step, h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(h)
        return torch.stack(states, 1)


class Sparse(nn.Module):
    """Attention to the two highest energies of each step over a GRU, as sparse transformers have it."""

    def __init__(self):
        super().__init__()
        self.layer, self.q, self.k = nn.GRU(D, H, batch_first=True), nn.Linear(H, H), nn.Linear(H, H)

    def forward(self, x):
        states = self.layer(x)[0]
        energies = self.q(states) @ self.k(states).transpose(1, 2)
        least = energies.topk(2, -1).values[..., -1:]
        return torch.softmax(energies.masked_fill(energies < least, -torch.inf), -1) @ states


class Instance(nn.Module):
    """An LSTM between a reversible instance norm (Kim et al. 2022) and its inverse, with cosine attention on top."""

    def __init__(self):
        super().__init__()
        self.layer, self.back = nn.LSTM(D, H, batch_first=True), nn.Linear(D, H)

    def forward(self, x):
        mean, spread = (
            x.mean(1, keepdim=True).detach(),
            torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-5).detach(),
        )
        states = self.layer((x - mean) / spread)[0]
        weights = F.cosine_similarity(states, states[:, -1:], dim=2)[..., None]
        return states * weights * self.back(spread) + self.back(mean)


def networks():
    """Each network of today with its head, by name."""
    layers = {
        "mLSTM": MatrixLstm, "sLSTM": ScalarLstm, "Mamba": Mamba, "LRU": Lru, "S5": S5, "RetNet": RetNet, "RWKV": Rwkv,
        "CfC": Cfc, "LTC": Ltc, "minGRU": MinGru, "TCN": Tcn, "ConvLSTM": ConvLstm, "GRU-D": GruD, "T-LSTM": TimeLstm,
        "sparse attention": Sparse, "reversible instance norm": Instance,
    }  # fmt: skip
    found = {}
    for name, layer in layers.items():
        torch.manual_seed(11)
        found[name] = Headed(layer()).eval()
    return found
