"""Recurrent networks that tasks train: classifiers, regressors, forecasters and translators from common parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .cells import AttentiveReader, GreatestReader, reader_of
from .recurrences.attention import attention_of_stack, is_linear
from .recurrences.choice import TORCH, reading_rate, recurrent_layers
from .recurrences.stack import RecurrentStack

if TYPE_CHECKING:
    from ..engine.prefix_tree import Reading, States
    from ..engine.shared_prefixes import Reader
    from .recurrences.choice import Recurrent

Cell = Literal["rnn", "lstm", "gru", "mingru", "slstm", "mlstm", "cfc", "lru", "mamba"]
Pooling = Literal["last", "mean", "max", "attention", "dot-attention"]
# A decoder's initial state; that of an LSTM is a pair: output and memory.
Begin = Tensor | tuple[Tensor, Tensor]

# Rows whose states are pooled at once: few enough that the states stay in the cache.
_ROWS_POOLED: Final = 128


class RecurrentNet(nn.Module):
    """Recurrent network: embedding (for tokens), recurrent layers, pooling over the steps, one linear layer.

    Args:
        input_size: D, the number of features of a step; for tokens, the size of the embedding.
        hidden_size: H, units of each layer and direction.
        output_size: K, the number of scores.
        cell: the recurrent cell: torch's ``"rnn"``, ``"lstm"`` and ``"gru"``; :class:`MinGru`, :class:`SLstm`,
            :class:`MLstm`, :class:`Cfc`, :class:`Lru` and :class:`Mamba`; or ``"grud"``, :class:`GruD`.
        layers: number of stacked recurrent layers.
        bidirectional: whether a second pass reads each sequence backwards, from its own last step.
        pooling: how the states of the steps become one vector. ``"last"``: the state after the last step (of both
            directions); ``"mean"`` and ``"max"`` over the steps; ``"attention"``: additive tanh attention (Bahdanau et
            al. 2015); ``"dot-attention"``: a learnt query.
        vocabulary_size: number of tokens; 0 for real-valued inputs. Token 0 is padding.
        dropout: share of pooled features dropped while training.
        measured: number of measured parameters, which GRU-D alone reads; see :class:`GruD`.

    Raises:
        ValueError: ``"grud"`` has no measured parameters, or more than one layer; or another cell has some.
        ParameterError: there is no such cell.
    """

    def __init__(  # noqa: PLR0913  # one argument for each choice that defines a member of the family
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        cell: Cell | Literal["grud"] = "lstm",
        layers: int = 1,
        bidirectional: bool = False,
        pooling: Pooling = "last",
        vocabulary_size: int = 0,
        dropout: float = 0.0,
        measured: int = 0,
    ) -> None:
        super().__init__()
        if (cell == "grud") != bool(measured) or (measured and layers > 1):
            raise ValueError(
                f"cell={cell!r} with measured={measured} and layers={layers}: GRU-D alone reads gaps, once"
            )
        self.pooling = pooling
        self.embedding = nn.Embedding(vocabulary_size, input_size, padding_idx=0) if vocabulary_size else None
        self.recurrent = recurrent_layers(
            cell, input_size, hidden_size, layers=layers, bidirectional=bidirectional, measured=measured
        )
        width = hidden_size * (2 if bidirectional else 1)
        self.attention = _ATTENTIONS[pooling](width) if pooling in _ATTENTIONS else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, output_size)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Scores float[B, K] of inputs int64[B, T] or float[B, T, D], right-padded to lengths int64[B]."""
        return self.forward_with_states(inputs, lengths)[0]

    def forward_with_states(
        self, inputs: Tensor, lengths: Tensor | None = None, *, by_step: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scores with the hidden states and the attention they are computed from, in one graph.

        Args:
            inputs: int64[B, T] or float[B, T, D], right-padded.
            lengths: int64[B]; None if all have T steps.
            by_step: whether to return scores float[B, T, K] after each step, instead of those of the pooled states.

        Returns:
            the scores; the states float[B, T, H or 2H], meaningless on padding; and the attention weights float[B, T],
            0 on padding, or None without attention.
        """
        states, lengths = self.states(inputs, lengths)
        pooled, weights = (states, None) if by_step else self._pool(states, lengths)
        scores: Tensor = self.head(self.dropout(pooled))
        return scores, states, weights

    @property
    def shared_directions(self) -> int:
        """See :class:`xrnnbench.tasks.engine.shared_prefixes.Shareable`.

        Nothing is shared if bidirectional layers are stacked.
        """
        if self.recurrent.bidirectional:
            return 2 if self.recurrent.num_layers == 1 else 0
        return 1

    @property
    def shared_width(self) -> int:
        """See :class:`xrnnbench.tasks.engine.shared_prefixes.Shareable`."""
        if isinstance(self.recurrent, RecurrentStack):
            return self.recurrent.values_per_step
        return self.recurrent.hidden_size

    @property
    def shared_rate(self) -> float:
        """See :class:`xrnnbench.tasks.engine.shared_prefixes.Shareable`; measured: docs/engine.md."""
        return reading_rate(self.recurrent) + (0.15 if self.shared_reading == "all" else 0.0)

    @property
    def shared_reading(self) -> Reading:
        """See :class:`xrnnbench.tasks.engine.shared_prefixes.Shareable`.

        Attention over both directions at once needs all states. Attention over one direction and max pooling are
        computed as running values, which the last output holds.
        """
        if self.pooling == "mean":
            return "mean"
        return "all" if self.attention is not None and self.recurrent.bidirectional else "last"

    def reader(self, direction: int) -> Reader:
        """See :class:`xrnnbench.tasks.engine.shared_prefixes.Shareable`."""
        reader = reader_of(self.recurrent, direction, self.embedding)
        if self.pooling == "max":
            return GreatestReader(reader, self.recurrent.hidden_size)
        if self.attention is not None and self.shared_reading == "last":
            return AttentiveReader(reader, self.recurrent.hidden_size, self.attention.energy)
        return reader

    def read_out(self, states: list[States], lengths: Tensor) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.shared_prefixes.Shareable`."""
        if self.shared_reading != "all":
            pooled = [part.mean() if self.shared_reading == "mean" else part.last() for part in states]
            return cast("Tensor", self.head(self.dropout(torch.cat(pooled, 1))))
        scores = []
        for begin in range(0, len(lengths), _ROWS_POOLED):
            rows = slice(begin, begin + _ROWS_POOLED)
            attended, _ = self._pool(torch.cat([part.all(rows) for part in states], 2), lengths[rows])
            scores.append(self.head(self.dropout(attended)))
        return torch.cat(scores)

    def states(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The last layer's hidden states float[B, T, H or 2H], meaningless on padding, and the lengths int64[B]."""
        if lengths is None:
            lengths = torch.full((len(inputs),), inputs.shape[1], device=inputs.device)
        features = self.embedding(inputs) if self.embedding is not None else inputs
        return _states(self.recurrent, features, lengths), lengths

    @property
    def implicitly_attentive(self) -> bool:
        """Whether each state is a weighted sum over the steps: the layers are linear in their states."""
        return isinstance(self.recurrent, RecurrentStack) and is_linear(self.recurrent)

    def implicit_attention(self, inputs: Tensor, lengths: Tensor, *, norms: bool = False) -> Tensor:
        """Implicit attention float[B, T] of the pooled state, 0 on padding, with sum 1 over a sequence's own steps.

        Each state of the last layer counts as far as it is read: the last one alone, all alike, or by the attention of
        the pooling; with max pooling, as many times as one of its units is the greatest.

        Args:
            inputs: int64[B, T] or float[B, T, D], right-padded.
            lengths: int64[B].
            norms: whether the weight of a step is multiplied by the norm of the value that it weighs.

        Raises:
            ValueError: the layers are not linear in their states.
        """
        if not (isinstance(self.recurrent, RecurrentStack) and is_linear(self.recurrent)):
            raise ValueError("layers that are not linear in their states have no implicit attention")
        states, _ = self.states(inputs, lengths)
        features = self.embedding(inputs) if self.embedding is not None else inputs
        found = torch.zeros(inputs.shape[:2], dtype=features.dtype, device=features.device)
        for row, length in enumerate(lengths.tolist()):
            read = self._read_shares(states[row, :length])
            found[row, :length] = attention_of_stack(self.recurrent, features[row, :length], read, norms=norms)
        return found

    def _read_shares(self, states: Tensor) -> list[Tensor]:
        """Share float[n] of each state of each direction in the pooled state of one sequence, float[n, H or 2H]."""
        steps, directions = len(states), 2 if self.recurrent.bidirectional else 1
        if self.pooling == "max":
            highest = states.argmax(0).chunk(directions)
            return [places.bincount(minlength=steps).to(states.dtype) / states.shape[1] for places in highest]
        if self.pooling == "last":
            own = torch.eye(steps, dtype=states.dtype, device=states.device) / directions
            return [own[-1], own[0]][:directions]
        shares = states.new_full((steps,), 1 / steps)
        if self.attention is not None:
            shares = self.attention(states[None], torch.ones_like(states[None, :, 0], dtype=torch.bool))[0]
        return [shares / directions] * directions

    def step_scores(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Scores float[B, T, K] after each step; with mean pooling, ``forward`` is their mean over the steps."""
        return self.forward_with_states(inputs, lengths, by_step=True)[0]

    def _pool(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pooled states float[B, H or 2H], and the attention weights float[B, T]; None without attention."""
        valid = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
        if self.attention is not None:
            weights = self.attention(states, valid)
            return (weights[:, :, None] * states).sum(1), weights
        if self.pooling == "mean":
            return (states * valid[:, :, None]).sum(1) / lengths[:, None], None
        if self.pooling == "max":
            return states.masked_fill(~valid[:, :, None], -torch.inf).amax(1), None
        return _last(self.recurrent, states, lengths), None


def _states(recurrent: Recurrent, features: Tensor, lengths: Tensor) -> Tensor:
    """The last layer's states float[B, T, H or 2H], meaningless on padding."""
    if isinstance(recurrent, RecurrentStack):
        return cast("Tensor", recurrent(features, lengths))
    if not recurrent.bidirectional or bool((lengths == features.shape[1]).all()):
        # a forward pass does not read later steps, so padding on the right is harmless
        states: Tensor = recurrent(features)[0]
        return states
    packed = pack_padded_sequence(features, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(recurrent(packed)[0], batch_first=True, total_length=features.shape[1])[0]


def _last(recurrent: Recurrent, states: Tensor, lengths: Tensor) -> Tensor:
    """Final state float[B, H or 2H] of each direction, after it has read the whole sequence."""
    last = states[torch.arange(len(states), device=states.device), lengths - 1]
    if recurrent.bidirectional:
        half = recurrent.hidden_size
        last = torch.cat([last[:, :half], states[:, 0, half:]], dim=1)
    return last


class AttentiveRecurrentNet(RecurrentNet):
    """A :class:`RecurrentNet` with attention pooling, which exposes its attention weights."""

    def forward_with_attention(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Scores float[B, K], the attention weights float[B, T], 0 on padding, and the states float[B, T, H] pooled."""
        scores, states, weights = self.forward_with_states(inputs, lengths)
        if weights is None:
            raise ValueError(f"pooling {self.pooling!r} has no attention weights")
        return scores, weights, states


class AttentionRNN(AttentiveRecurrentNet):
    """An LSTM with additive attention over its hidden states; the simplest attentive network of this module.

    Args:
        input_size: features of a step.
        hidden_size: units.
        output_size: scores.
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
        super().__init__(input_size, hidden_size, output_size, cell="lstm", pooling="attention")


class EncoderDecoder(nn.Module):
    """Encoder-decoder translator with global attention: it scores the next token at each output step.

    Encoder and decoder are recurrent. Token 0 is padding in both vocabularies; in the target vocabulary 1 is the start
    and 2 the end of a sequence.

    Args:
        source_size: number of source tokens.
        target_size: V, number of target tokens.
        hidden_size: H, units of the encoder (both directions together) and of the decoder.
        embedding_size: of both.
        cell: the recurrent cell; see :class:`RecurrentNet`. A cell that is not torch's is the encoder's alone, and the
            decoder is a GRU: it begins with a state that is computed from the encoder's, one vector.
        layers: number of stacked recurrent layers of the encoder.
        dropout: share of the embeddings, and of the vectors that the scores are computed from, dropped while training.

    Source: Luong, Pham & Manning 2015, equations 5 to 8 (score "general").
    """

    START: Final = 1
    END: Final = 2
    # nothing is shared: results that are stored keep their last bits
    shared_directions: Final = 0

    def __init__(
        self,
        source_size: int,
        target_size: int,
        hidden_size: int,
        *,
        embedding_size: int = 32,
        cell: Cell = "gru",
        layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(source_size, embedding_size, padding_idx=0)
        self.target_embedding = nn.Embedding(target_size, embedding_size, padding_idx=0)
        self.encoder = recurrent_layers(cell, embedding_size, hidden_size // 2, layers=layers, bidirectional=True)
        self.bridge = nn.Linear(2 * (hidden_size // 2), hidden_size)
        self.decoder = TORCH.get(cell, nn.GRU)(embedding_size, hidden_size, batch_first=True)
        self.energy = nn.Linear(2 * (hidden_size // 2), hidden_size, bias=False)
        self.combine = nn.Linear(2 * (hidden_size // 2) + hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, target_size)

    def forward(self, source: Tensor, lengths: Tensor | None, produced: Tensor) -> Tensor:
        """Scores float[B, U, V] of the token at each output step, given the source and the tokens produced before it.

        Args:
            source: int64[B, T], right-padded.
            lengths: int64[B]; None if all have T steps.
            produced: int64[B, U], the tokens at the output steps; step u reads the tokens before u.
        """
        return self.forward_with_attention(source, lengths, produced)[0]

    def forward_with_attention(
        self, source: Tensor, lengths: Tensor | None, produced: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores float[B, U, V], the attention float[B, U, T] of each output step, and the states float[B, T, H]."""
        encoded, state, valid = self._encoded(source, lengths)
        begun = torch.cat([torch.full_like(produced[:, :1], self.START), produced[:, :-1]], 1)
        decoded = self.decoder(self.dropout(self.target_embedding(begun)), state)[0]
        scores, weights = self._read(decoded, encoded, self.energy(encoded), valid)
        return scores, weights, encoded

    def generate(self, source: Tensor, lengths: Tensor | None, steps: int) -> Tensor:
        """Tokens int64[B, steps] from greedy decoding: the best token at each step; 0 after the end.

        The source is encoded once, and each step continues from the decoder's state after the step before.
        """
        produced = torch.zeros(len(source), steps, dtype=torch.int64, device=source.device)
        ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
        last = torch.full_like(source[:, :1], self.START)
        with torch.no_grad():
            encoded, state, valid = self._encoded(source, lengths)
            keys = self.energy(encoded)
            for step in range(steps):
                decoded, state = self.decoder(self.dropout(self.target_embedding(last)), state)
                best = self._read(decoded, encoded, keys, valid)[0][:, 0].argmax(1).masked_fill(ended, 0)
                produced[:, step] = best
                ended |= best == self.END
                if bool(ended.all()):
                    break
                last = best[:, None]
        return produced

    def _encoded(self, source: Tensor, lengths: Tensor | None) -> tuple[Tensor, Begin, Tensor]:
        """The encoder's states float[B, T, H], the decoder's initial state, and the mask bool[B, T] of source steps."""
        if lengths is None:
            lengths = torch.full((len(source),), source.shape[1], device=source.device)
        encoded = _states(self.encoder, self.dropout(self.source_embedding(source)), lengths)
        state = torch.tanh(self.bridge(_last(self.encoder, encoded, lengths)))[None]
        begin = (state, torch.zeros_like(state)) if isinstance(self.decoder, nn.LSTM) else state
        return encoded, begin, torch.arange(source.shape[1], device=source.device) < lengths[:, None]

    def _read(self, decoded: Tensor, encoded: Tensor, keys: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Scores float[B, U, V] and attention float[B, U, T] of the decoder's states float[B, U, H]."""
        energy = decoded @ keys.transpose(1, 2)
        weights = energy.masked_fill(~valid[:, None], -torch.inf).softmax(2)
        # states on padding have weight 0, but may be NaN, and 0 · NaN is NaN
        read = weights @ encoded.masked_fill(~valid[:, :, None], 0)
        mixed = torch.tanh(self.combine(torch.cat([read, decoded], 2)))
        return self.head(self.dropout(mixed)), weights


class AdditiveAttention(nn.Module):
    """Additive attention: weights softmax(vᵀ tanh(W h + b)) over the valid steps.

    Source: Bahdanau et al. 2015, without a decoder state.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.query = nn.Linear(width, 1, bias=False)

    def forward(self, states: Tensor, valid: Tensor) -> Tensor:
        """Attention weights float[B, T] of states float[B, T, H]; valid bool[B, T] is False on padding."""
        return self.energy(states).masked_fill(~valid, -torch.inf).softmax(1)

    def energy(self, states: Tensor) -> Tensor:
        """Energies float[…] of states float[…, H]; the softmax of the energies gives the weights."""
        return cast("Tensor", self.query(torch.tanh(self.project(states))).squeeze(-1))


class DotAttention(nn.Module):
    """Dot-product attention: weights softmax(qᵀ h / √H) over the valid steps, with a learnt query q."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, 1, bias=False)
        self.scale = width**-0.5

    def forward(self, states: Tensor, valid: Tensor) -> Tensor:
        """Attention weights float[B, T] of states float[B, T, H]; valid bool[B, T] is False on padding."""
        return self.energy(states).masked_fill(~valid, -torch.inf).softmax(1)

    def energy(self, states: Tensor) -> Tensor:
        """Energies float[…] of states float[…, H]; the softmax of the energies gives the weights."""
        return cast("Tensor", self.query(states).squeeze(-1) * self.scale)


_ATTENTIONS: dict[str, type[AdditiveAttention | DotAttention]] = {
    "attention": AdditiveAttention,
    "dot-attention": DotAttention,
}
