"""Models of users' own making, none of them of our family, and a literal DeepLIFT to hold the fast one against."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

D, H, K = 3, 6, 2


class CellLoop(nn.Module):
    """nn.LSTMCell or nn.GRUCell in a loop written by hand."""

    def __init__(self, cell):
        super().__init__()
        self.cell, self.head = cell(D, H), nn.Linear(H, K)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class OwnLstm(nn.Module):
    """The equations of an LSTM written out, with no recurrent module at all."""

    def __init__(self):
        super().__init__()
        self.gates, self.head = nn.Linear(D + H, 4 * H), nn.Linear(H, K)

    def forward(self, x):
        h = c = torch.zeros(len(x), H, dtype=x.dtype)
        for t in range(x.shape[1]):
            i, f, g, o = self.gates(torch.cat([x[:, t], h], -1)).chunk(4, -1)
            c = torch.sigmoid(f) * c + i.sigmoid() * torch.tanh(g)
            h = o.sigmoid() * c.tanh()
        return self.head(h)


class Packed(nn.Module):
    """Packs inside forward and reads the final state h_n."""

    def __init__(self, layer=nn.LSTM, **options):
        super().__init__()
        self.layer, self.head = layer(D, H, 2, bidirectional=True, batch_first=True, **options), nn.LazyLinear(K)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        output, state = self.layer(packed)
        state = state[0] if isinstance(state, tuple) else state
        padded, _ = pad_packed_sequence(output, batch_first=True)
        return self.head(torch.cat([state[-1], state[-2], padded.sum(1)], -1))


class TimeFirst(nn.Module):
    """batch_first=False, two stacked bidirectional layers, a projection, and the last output."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.LSTM(D, H, 2, bidirectional=True, proj_size=4), nn.Linear(8, K)

    def forward(self, x):
        return self.head(self.layer(x.transpose(0, 1))[0][-1])


class Decorated(nn.Module):
    """Convolution and batch norm in front, residual layers with layer norm, a multi-layer head."""

    def __init__(self, activation):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(D, H, 3, padding=1), nn.BatchNorm1d(H)
        self.first, self.second = nn.GRU(H, H, batch_first=True), nn.RNN(H, H, batch_first=True, nonlinearity="relu")
        self.layer_norm, self.activation = nn.LayerNorm(H), activation
        self.head = nn.Sequential(nn.Linear(H, H), activation, nn.Dropout(0.5), nn.Linear(H, K))

    def forward(self, x):
        x = self.norm(self.conv(x.transpose(1, 2))).transpose(1, 2)
        x = self.layer_norm(x + self.first(x)[0])
        x = x + self.second(x)[0]
        return self.head(F.adaptive_max_pool1d(x.transpose(1, 2), 1).squeeze(-1))


class SelfAttention(nn.Module):
    """Self-attention over an LSTM's outputs, log-softmax scores, a state handed from encoder to decoder."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.LSTM(D, H, batch_first=True), nn.LSTM(D, H, batch_first=True)
        self.q, self.k, self.v, self.head = nn.Linear(H, H), nn.Linear(H, H), nn.Linear(H, H), nn.Linear(H, K)

    def forward(self, x):
        encoded, state = self.encoder(x)
        decoded, _ = self.decoder(x.flip(1), state)
        q, k, v = self.q(decoded), self.k(encoded), self.v(encoded)
        weights = torch.softmax(torch.einsum("bqh,bkh->bqk", q, k) / H**0.5, -1)
        mixed = torch.bmm(weights, v) + F.scaled_dot_product_attention(q, k, v)
        gate = torch.exp(-mixed.square()) / (1 + mixed.abs())
        return F.log_softmax(self.head((gate * mixed).mean(1)), dim=-1)


class Heads(nn.Module):
    """A GRU with torch's own attention of several heads on top, whose weights are used once more."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.GRU(D, H, batch_first=True), nn.Linear(H, K)
        self.attention = nn.MultiheadAttention(H, 2, dropout=0.3, batch_first=True)

    def forward(self, x):
        states = self.layer(x)[0]
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        found, weights = self.attention(states, states, states, attn_mask=later)
        return self.head((weights @ torch.relu(found))[:, -1] + found.mean(1))


class InPlace(nn.Module):
    """Writes into a buffer and works in place."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.RNN(D, H, batch_first=True), nn.Linear(H, K)

    def forward(self, x):
        kept = torch.zeros(len(x), x.shape[1], H, dtype=x.dtype)
        states = self.layer(x)[0]
        for t in range(x.shape[1]):
            kept[:, t] = states[:, t] * 0.5
        kept += states
        kept.relu_()
        kept *= 2
        return self.head(kept.max(dim=1)[0] + kept.amax(1) + torch.maximum(kept[:, 0], kept[:, 1]))


def users_models():
    """Each with whether it is told lengths."""
    return {
        "lstm cells": CellLoop(nn.LSTMCell),
        "gru cells": CellLoop(nn.GRUCell),
        "rnn cells": CellLoop(nn.RNNCell),
        "written-out lstm": OwnLstm(),
        "packed lstm": Packed(),
        "packed gru": Packed(nn.GRU),
        "packed rnn without bias": Packed(nn.RNN, bias=False),
        "time first, projected": TimeFirst(),
        "decorated, gelu": Decorated(nn.GELU()),
        "decorated, silu": Decorated(nn.SiLU()),
        "self-attention": SelfAttention(),
        "multi-head attention": Heads(),
        "in place": InPlace(),
    }


def literal_deeplift(cell, weights, x, x0, head):
    """DeepLIFT (Rescale) of one sequence, step by step as Shrikumar et al. 2017 write it: quotients and two factors.

    ``cell`` is "lstm", "gru" or "rnn", ``weights`` are (w_ih, w_hh, b_ih, b_hh), ``x``, ``x0`` float64[T, D], ``head``
    float64[H], the weights of the score on the last state.
    """
    w_ih, w_hh, b_ih, b_hh = weights
    size = w_hh.shape[1]
    forward = {"lstm": _lstm_step, "gru": _gru_step, "rnn": _rnn_step}[cell]
    backward = {"lstm": _lstm_back, "gru": _gru_back, "rnn": _rnn_back}[cell]
    steps = []
    state = (torch.zeros(size).double(), torch.zeros(size).double())
    both = (state, state)
    for now, now0 in zip(x, x0, strict=True):
        record = []
        for value, own in ((now, both[0]), (now0, both[1])):
            record.append(forward(value, own, w_ih, w_hh, b_ih, b_hh))
        both = (record[0]["state"], record[1]["state"])
        steps.append(record)
    m = (head, torch.zeros(size).double())
    found = []
    for record in reversed(steps):
        m_x, m = backward(*record, m, w_ih, w_hh)
        found.append(m_x)
    return torch.stack(found[::-1]) * (x - x0)


def _rescale(y, y0, z, z0):
    return (y - y0) / (z - z0)


def _mean(a, b):
    return (a + b) / 2


def _rnn_step(x, state, w_ih, w_hh, b_ih, b_hh):
    z = w_ih @ x + b_ih + w_hh @ state[0] + b_hh
    return {"z": z, "y": z.tanh(), "state": (z.tanh(), state[1])}


def _rnn_back(a, b, m, w_ih, w_hh):
    m_z = m[0] * _rescale(a["y"], b["y"], a["z"], b["z"])
    return w_ih.T @ m_z, (w_hh.T @ m_z, m[1])


def _lstm_step(x, state, w_ih, w_hh, b_ih, b_hh):
    z = (w_ih @ x + b_ih + w_hh @ state[0] + b_hh).chunk(4)
    i, f, g, o = z[0].sigmoid(), z[1].sigmoid(), z[2].tanh(), z[3].sigmoid()
    c = f * state[1] + i * g
    return {"z": z, "gates": (i, f, g, o), "c": c, "before": state[1], "state": (o * c.tanh(), c)}


def _lstm_back(a, b, m, w_ih, w_hh):
    i, f, g, o = (_mean(own, other) for own, other in zip(a["gates"], b["gates"], strict=True))
    m_c = m[1] + m[0] * o * _rescale(a["c"].tanh(), b["c"].tanh(), a["c"], b["c"])
    m_gates = (m_c * g, m_c * _mean(a["before"], b["before"]), m_c * i, m[0] * _mean(a["c"].tanh(), b["c"].tanh()))
    m_z = torch.cat(
        [
            m_gate * _rescale(y, y0, z, z0)
            for m_gate, y, y0, z, z0 in zip(m_gates, a["gates"], b["gates"], a["z"], b["z"], strict=True)
        ]
    )
    return w_ih.T @ m_z, (w_hh.T @ m_z, m_c * f)


def _gru_step(x, state, w_ih, w_hh, b_ih, b_hh):
    of_x, of_h = (w_ih @ x + b_ih).chunk(3), (w_hh @ state[0] + b_hh).chunk(3)
    z_r, z_z = of_x[0] + of_h[0], of_x[1] + of_h[1]
    r, z = z_r.sigmoid(), z_z.sigmoid()
    z_n = of_x[2] + r * of_h[2]
    n = z_n.tanh()
    kept = {"pre": (z_r, z_z, z_n), "gates": (r, z, n), "s": of_h[2], "before": state[0]}
    return kept | {"state": (n + z * (state[0] - n), state[1])}


def _gru_back(a, b, m, w_ih, w_hh):
    slopes = [_rescale(*four) for four in zip(a["gates"], b["gates"], a["pre"], b["pre"], strict=True)]
    r, z, _ = (_mean(own, other) for own, other in zip(a["gates"], b["gates"], strict=True))
    difference = _mean(a["before"] - a["gates"][2], b["before"] - b["gates"][2])
    m_pre_z = m[0] * difference * slopes[1]
    m_pre_n = m[0] * (1 - z) * slopes[2]
    m_pre_r = m_pre_n * _mean(a["s"], b["s"]) * slopes[0]
    m_x = w_ih.T @ torch.cat([m_pre_r, m_pre_z, m_pre_n])
    return m_x, (m[0] * z + w_hh.T @ torch.cat([m_pre_r, m_pre_z, m_pre_n * r]), m[1])
