"""Recurrent networks that people use today, each in a few lines, faithful to its equations."""

import torch
from torch import nn
from torch.nn import functional as F

D, H, K = 5, 8, 3


class Scores(nn.Module):
    """A sequence model with a linear head on its last or mean output float[B, T, H]."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Linear(D, H), nn.Linear(H, K)

    def forward(self, x):
        return self.head(self.outputs(self.embed(x)).mean(1))


class MLstm(Scores):
    """mLSTM (Beck et al. 2024): a matrix memory, exponential gates and a group norm by head."""

    def __init__(self, heads=2):
        super().__init__()
        self.heads = heads
        self.qkv, self.gates, self.out = nn.Linear(H, 3 * H), nn.Linear(H, 2 * heads), nn.Linear(H, H)
        self.norm = nn.GroupNorm(heads, H)

    def outputs(self, x):
        size = H // self.heads
        memory = x.new_zeros(len(x), self.heads, size, size)
        normaliser, largest = x.new_zeros(len(x), self.heads, size), x.new_zeros(len(x), self.heads)
        found = []
        for step in x.unbind(1):
            q, k, v = (part.view(len(x), self.heads, size) for part in self.qkv(step).chunk(3, -1))
            i, f = self.gates(step).chunk(2, -1)
            f = F.logsigmoid(f)
            now = torch.maximum(f + largest, i)
            write, keep = torch.exp(i - now)[..., None], torch.exp(f + largest - now)[..., None]
            k, largest = k / size**0.5, now
            memory = keep[..., None] * memory + write[..., None] * (v[..., :, None] * k[..., None, :])
            normaliser = keep * normaliser + write * k
            size_of = torch.maximum((normaliser * q).sum(-1, keepdim=True).abs(), torch.exp(-largest)[..., None])
            h = torch.einsum("bhvk,bhk->bhv", memory, q) / size_of
            found.append(torch.sigmoid(self.out(step)) * self.norm(h.flatten(1)))
        return torch.stack(found, 1)


class SLstm(Scores):
    """sLSTM (Beck et al. 2024): exponential gates, a normaliser and a stabiliser."""

    def __init__(self):
        super().__init__()
        self.input, self.recurrent = nn.Linear(H, 4 * H), nn.Linear(H, 4 * H, bias=False)

    def outputs(self, x):
        h = c = x.new_zeros(len(x), H)
        n, m = x.new_ones(len(x), H), x.new_zeros(len(x), H)
        found = []
        for step in x.unbind(1):
            z, i, f, o = (self.input(step) + self.recurrent(h)).chunk(4, -1)
            f = F.logsigmoid(f)
            now = torch.maximum(f + m, i)
            write, keep = torch.exp(i - now), torch.exp(f + m - now)
            c, n, m = keep * c + write * torch.tanh(z), keep * n + write, now
            h = torch.sigmoid(o) * (c / n)
            found.append(h)
        return torch.stack(found, 1)


class Mamba(Scores):
    """A Mamba block (Gu & Dao 2023, algorithm 2): convolution, selective scan, a SiLU gate."""

    def __init__(self, states=4):
        super().__init__()
        self.states = states
        self.in_proj, self.out_proj = nn.Linear(H, 2 * H, bias=False), nn.Linear(H, H, bias=False)
        self.conv = nn.Conv1d(H, H, 3, groups=H, padding=2)
        self.x_proj, self.dt_proj = nn.Linear(H, 2 + 2 * states, bias=False), nn.Linear(2, H)
        self.a_log, self.skip = nn.Parameter(torch.rand(H, states)), nn.Parameter(torch.ones(H))
        self.norm = nn.RMSNorm(H)

    def outputs(self, x):
        u, z = self.in_proj(self.norm(x)).chunk(2, -1)
        u = F.silu(self.conv(u.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        step, b, c = self.x_proj(u).split([2, self.states, self.states], -1)
        step = F.softplus(self.dt_proj(step))
        decay = torch.exp(step[..., None] * -torch.exp(self.a_log))
        written = torch.einsum("btd,btn,btd->btdn", step, b, u)
        state, found = x.new_zeros(len(x), H, self.states), []
        for t in range(x.shape[1]):
            state = decay[:, t] * state + written[:, t]
            found.append(torch.einsum("bdn,bn->bd", state, c[:, t]))
        return x + self.out_proj((torch.stack(found, 1) + u * self.skip) * F.silu(z))


class MinGru(Scores):
    """minGRU (Feng et al. 2024, section 3.1), as a recurrence."""

    def __init__(self):
        super().__init__()
        self.gate, self.candidate = nn.Linear(H, H), nn.Linear(H, H)

    def outputs(self, x):
        h, found = x.new_zeros(len(x), H), []
        z, candidate = torch.sigmoid(self.gate(x)), self.candidate(x)
        for t in range(x.shape[1]):
            h = (1 - z[:, t]) * h + z[:, t] * candidate[:, t]
            found.append(h)
        return torch.stack(found, 1)


class ParallelMinGru(MinGru):
    """minGRU by its parallel scan in logarithms (Feng et al. 2024, appendix B)."""

    def outputs(self, x):
        k, candidate = self.gate(x), self.candidate(x)
        positive = torch.where(candidate >= 0, (candidate.relu() + 0.5).log(), -F.softplus(-candidate))
        kept = -F.softplus(k).cumsum(dim=1)
        return (kept + torch.logcumsumexp(positive - F.softplus(-k) - kept, 1)).exp()


class Lru(Scores):
    """LRU (Orvieto et al. 2023): a diagonal complex recurrence."""

    def __init__(self):
        super().__init__()
        self.decay, self.angle = nn.Parameter(torch.rand(H)), nn.Parameter(torch.rand(H))
        self.into, self.out = nn.Linear(H, 2 * H), nn.Linear(2 * H, H)

    def outputs(self, x):
        rotation = torch.exp(torch.complex(-torch.exp(self.decay), self.angle))
        size = (1 - rotation.abs().square()).sqrt()
        u = torch.view_as_complex(self.into(x).unflatten(-1, (H, 2)).contiguous())
        h, found = torch.zeros(len(x), H, dtype=u.dtype), []
        for step in u.unbind(1):
            h = rotation * h + size * step
            found.append(h)
        return x + F.gelu(self.out(torch.view_as_real(torch.stack(found, 1)).flatten(-2)))


class Cfc(Scores):
    """CfC (Hasani et al. 2022): two heads, interpolated by a gate of the elapsed time."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2 * H, H), nn.SiLU())
        self.first, self.second, self.a, self.b = (nn.Linear(H, H) for _ in range(4))

    def outputs(self, x):
        h, found = x.new_zeros(len(x), H), []
        for step in x.unbind(1):
            y = self.backbone(torch.cat([step, h], -1))
            gate = torch.sigmoid(self.a(y) * 1.0 + self.b(y))
            h = torch.tanh(self.first(y)) * (1 - gate) + gate * torch.tanh(self.second(y))
            found.append(h)
        return torch.stack(found, 1)


class Rwkv(Scores):
    """RWKV-4 (Peng et al. 2023), time mixing, as a recurrence."""

    def __init__(self):
        super().__init__()
        self.r, self.k, self.v, self.out = (nn.Linear(H, H, bias=False) for _ in range(4))
        self.decay, self.bonus, self.mix = (nn.Parameter(torch.rand(H)) for _ in range(3))
        self.norm = nn.LayerNorm(H)

    def outputs(self, x):
        y = self.norm(x)
        mixed = self.mix * y + (1 - self.mix) * F.pad(y, (0, 0, 1, -1))
        r, k, v = torch.sigmoid(self.r(mixed)), self.k(mixed), self.v(mixed)
        above = below = x.new_zeros(len(x), H)
        found = []
        for t in range(x.shape[1]):
            now = torch.exp(self.bonus + k[:, t])
            found.append(r[:, t] * (above + now * v[:, t]) / (below + now))
            kept, size = torch.exp(-torch.exp(self.decay)), torch.exp(k[:, t])
            above, below = kept * above + size * v[:, t], kept * below + size
        return x + self.out(torch.stack(found, 1))


class RetNet(Scores):
    """RetNet's retention (Sun et al. 2023), in parallel, with group norm and a SiLU gate."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.g, self.out = (nn.Linear(H, H, bias=False) for _ in range(5))
        self.norm = nn.GroupNorm(2, H)

    def outputs(self, x):
        times = torch.arange(x.shape[1])
        lag = times[:, None] - times
        decay = torch.where(lag >= 0, 0.9 ** lag.clamp_min(0).to(x.dtype), torch.zeros((), dtype=x.dtype))
        held = (self.q(x) @ self.k(x).transpose(1, 2) * H**-0.5 * decay) @ self.v(x)
        normed = self.norm(held.flatten(0, 1)).view_as(held)
        return x + self.out(F.silu(self.g(x)) * normed)


class Tcn(Scores):
    """A temporal convolutional network (Bai et al. 2018): dilated causal convolutions with weight norm, residuals."""

    def __init__(self):
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.layers = nn.ModuleList(norm(nn.Conv1d(H, H, 2, dilation=2**place)) for place in range(3))

    def outputs(self, x):
        y = x.transpose(1, 2)
        for place, layer in enumerate(self.layers):
            y = F.relu(y + F.relu(layer(F.pad(y, (2**place, 0)))))
        return y.transpose(1, 2)


class ConvLstm(Scores):
    """ConvLSTM (Shi et al. 2015, without peepholes) on a small picture of each step."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def outputs(self, x):
        h = c = x.new_zeros(len(x), 2, 2, 4)
        found = []
        for step in x.unbind(1):
            i, f, g, o = self.conv(torch.cat([step.view(len(x), 1, 2, 4), h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            found.append(h.mean(1).flatten(1))
        return torch.stack(found, 1)


class AttendedLstm(Scores):
    """Self-attention with a SwiGLU layer (Shazeer 2020) on top of an LSTM."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(H, H, batch_first=True)
        self.q, self.k, self.v, self.gate, self.up, self.down = (nn.Linear(H, H) for _ in range(6))

    def outputs(self, x):
        y, _ = self.layer(x)
        y = y + (self.q(y) @ self.k(y).transpose(1, 2) / H**0.5).softmax(-1) @ self.v(y)
        return y + self.down(F.silu(self.gate(y)) * self.up(y))


class LinearAttention(Scores):
    """Attention without a softmax on top of a GRU: only products of signals."""

    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(H, H, batch_first=True)

    def outputs(self, x):
        y, _ = self.layer(x)
        return torch.einsum("bti,bsi,bsj->btj", y, y, y)


NETWORKS = {
    "mLSTM with group norm": MLstm, "sLSTM": SLstm, "Mamba": Mamba, "minGRU": MinGru, "minGRU in parallel":
    ParallelMinGru, "LRU": Lru, "CfC": Cfc, "RWKV": Rwkv, "RetNet": RetNet, "TCN": Tcn, "ConvLSTM": ConvLstm,
    "self-attention on an LSTM": AttendedLstm, "linear attention on a GRU": LinearAttention,
}  # fmt: skip


def network(name, seed=0, dtype=torch.float64):
    """One of the networks with drawn weights, in evaluation mode."""
    torch.manual_seed(seed)
    return NETWORKS[name]().to(dtype).eval()
