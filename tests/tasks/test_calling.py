import pytest
import torch
from torch import nn

from xrnnbench.errors import DataError, UnsupportedModelError
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.embedding import EmbeddedModel, EmbeddingCall
from xrnnbench.tasks.engine.signature import takes_lengths
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet
from xrnnbench.tasks.subject import Cost, Subject


def module(forward):
    return type("Model", (nn.Module,), {"forward": forward})()


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda self, x: x, False),
        (lambda self, x, lengths: x, True),
        (lambda self, x, seq_lens=None: x, True),
        (lambda self, x, hidden=None: x, False),
        (lambda self, *inputs: inputs, False),
    ],
)
def test_lengths_are_told_by_the_name_of_the_second_argument(forward, expected):
    assert takes_lengths(module(forward)) is expected


@pytest.mark.parametrize("forward", [lambda self, x, hidden: x, lambda self, x, lengths, hidden: x])
def test_forward_that_needs_more_is_refused(forward):
    with pytest.raises(DataError, match="needs 'hidden' besides"):
        takes_lengths(module(forward))


def tokens():
    return Batch(torch.tensor([[2, 3, 0, 0], [4, 1, 3, 2]]), torch.tensor([2, 4]), torch.tensor([0, 1]))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return AttentiveRecurrentNet(3, 4, 2, cell="gru", bidirectional=True, pooling="attention", vocabulary_size=6).eval()


def test_embedding_view_gives_the_models_scores(model):
    batch = tokens()
    subject = Subject(model, batch, torch.ones_like(batch.inputs), background=batch)
    view = subject.continuous()
    assert view.batch.inputs.shape == (2, 4, 3)
    assert view.shape == (2, 4)
    assert view.background.inputs.shape == (2, 4, 3)
    assert torch.allclose(view.batch_outputs, subject.batch_outputs)
    assert torch.allclose(view.reference_outputs, subject.reference_outputs)
    assert view is subject.continuous()
    assert view.continuous() is view


def test_view_and_model_share_one_count(model):
    batch = tokens()
    subject = Subject(model, batch, torch.ones_like(batch.inputs))
    view = subject.continuous()
    view.gradients(view.batch.inputs)
    weights = view.attention()
    assert subject.cost is view.cost
    assert subject.cost == Cost(forward=4, backward=2, executed=4)
    assert torch.allclose(weights, subject.attention())


class TokenMasking(nn.Module):
    """Averages embeddings over what is not padding by its tokens."""

    def __init__(self, padding=0):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(6, 2, padding_idx=padding)
        self.padding = padding

    def forward(self, inputs, lengths):
        real = (inputs != self.padding)[:, :, None]
        return (self.embedding(inputs) * real).sum(1) / real.sum(1)


@pytest.mark.parametrize("padding", [0, 5])
def test_masks_made_from_tokens_come_out_right(padding):
    batch = tokens()
    inputs = torch.where(batch.valid, batch.inputs, padding)
    batch = Batch(inputs, batch.lengths, batch.targets)
    subject = Subject(TokenMasking(padding), batch, torch.ones_like(inputs))
    assert torch.allclose(subject.continuous().batch_outputs, subject.batch_outputs, atol=1e-6)


def test_view_gives_its_model_back_unhooked(model):
    view = EmbeddedModel(model, EmbeddingCall(model.embedding, 0, time_first=False))
    view(torch.zeros(1, 2, 3), torch.tensor([2]))
    assert not model.embedding._forward_hooks


class Twice(TokenMasking):
    """Reads its tokens through two embeddings."""

    def __init__(self):
        super().__init__()
        self.other = nn.Embedding(6, 2)

    def forward(self, inputs, lengths):
        return super().forward(inputs, lengths) + self.other(inputs).sum(1)


def test_no_embedding_and_two_are_refused():
    batch = tokens()
    with pytest.raises(UnsupportedModelError, match=r"embeds its tokens 2 times"):
        Subject(Twice(), batch, torch.ones_like(batch.inputs)).continuous()
    none = module(lambda self, inputs: nn.functional.one_hot(inputs, 6).float().sum(1))
    with pytest.raises(UnsupportedModelError, match=r"no nn\.Embedding"):
        Subject(none, batch, torch.ones_like(batch.inputs)).continuous()


def test_token_read_past_the_embedding_is_refused():
    class Both(TokenMasking):
        def forward(self, inputs, lengths):
            return super().forward(inputs, lengths) + inputs[:, :1]

    batch = tokens()
    with pytest.raises(UnsupportedModelError, match="in more ways than through one embedding"):
        Subject(Both(), batch, torch.ones_like(batch.inputs)).continuous()


class MasksItsPadding(nn.Module):
    """Attention over what is not padding, as many users' models have it."""

    def __init__(self):
        super().__init__()
        self.embedding, self.layer, self.head = nn.Embedding(9, 4), nn.GRU(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        states, _ = self.layer(self.embedding(x))
        weights = states.sum(-1).masked_fill((x == 0) & (x != 0).any(1, keepdim=True), -torch.inf).softmax(1)
        return self.head((weights[..., None] * states).sum(1))


@pytest.mark.parametrize(("reference", "fits"), [(0, False), (1, True)])
def test_a_reference_that_the_model_masks_is_refused(reference, fits):
    """From its embeddings the model sees another f(x⁰) than from its tokens, and completeness would be of that one."""
    torch.manual_seed(0)
    tokens = torch.randint(2, 9, (4, 6))
    half = torch.full_like(tokens, reference)
    half[:, 0] = 1
    subject = Subject(MasksItsPadding(), Batch(tokens, torch.full((4,), 6), torch.zeros(4).long()), half)
    if fits:
        subject.continuous()
    else:
        with pytest.raises(UnsupportedModelError, match="such as <unk>"):
            subject.continuous()
