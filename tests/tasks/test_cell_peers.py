"""The same outputs from the packages that also have these cells, with their weights in ours (extra ``peers``)."""

import functools
import math

import pytest
import torch

from xrnnbench.tasks.models.recurrences import mamba as mamba_module
from xrnnbench.tasks.models.recurrences.cfc import Cfc
from xrnnbench.tasks.models.recurrences.lru import Lru
from xrnnbench.tasks.models.recurrences.mamba import Mamba
from xrnnbench.tasks.models.recurrences.min_gru import MinGru
from xrnnbench.tasks.models.recurrences.xlstm import MLstm, SLstm

D, H, STEPS = 8, 8, 40


def peer(module, package):
    return pytest.importorskip(module, reason=f"the peer {package} (extra peers) is not installed")


def sequences():
    return torch.randn(3, STEPS, D, generator=torch.Generator().manual_seed(0))


def take(layer, **weights):
    """Load weights; those that are not given are 0."""
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(weights.pop(name)) if name in weights else parameter.zero_()
    assert not weights
    return layer


def test_min_gru():
    torch.manual_seed(0)
    theirs = peer("minGRU_pytorch", "minGRU-pytorch").minGRU(D)
    ours = take(MinGru(D, H), weight=theirs.to_hidden_and_gate.weight)
    inputs = 3 * sequences()
    assert (ours(inputs) - theirs(inputs)).abs().max() < 1e-5
    assert (ours.double()(inputs.double()) - theirs.double()(inputs.double())).abs().max() < 1e-12


def test_slstm():
    cells = peer("xlstm.blocks.slstm.cell", "xlstm")
    torch.manual_seed(0)
    config = cells.sLSTMCellConfig(
        hidden_size=H, num_heads=1, backend="vanilla", dtype="float32", recurrent_weight_init="standard",
        enable_automatic_mixed_precision=False,
    )  # fmt: skip
    theirs = cells.sLSTMCell(config)
    ours = SLstm(D, H)
    with torch.no_grad():
        ours.recurrent.copy_(theirs._recurrent_kernel[0])
        ours.bias.copy_(theirs._bias)
    inputs = sequences()
    # theirs takes W x, and returns [rows, heads, steps, units]
    found = theirs(torch.nn.functional.linear(inputs, ours.weight.detach()))[0]
    assert (ours(inputs) - found[:, 0]).abs().max() < 1e-5


@pytest.mark.parametrize("steps", [20, STEPS])
def test_mlstm(steps):
    cells = peer("xlstm.blocks.mlstm.cell", "xlstm")
    torch.manual_seed(0)
    theirs = cells.mLSTMCell(cells.mLSTMCellConfig(context_length=steps, embedding_dim=H, num_heads=4)).double()
    # theirs adds 1e-6 to the normaliser of the stabilised memory, which the equations do not: up to 2e-4 of the outputs
    theirs.backend_fn = functools.partial(theirs.backend_fn, eps=0.0)
    for gate in (theirs.igate, theirs.fgate):
        torch.nn.init.normal_(gate.weight, std=0.3)
    ours = MLstm(D, H).double()
    read = ours.weight.detach()[: 3 * H].clone()
    gates = torch.cat([gate.weight.detach() @ read for gate in (theirs.igate, theirs.fgate)])
    # their gates read query, key and value; ours the input that these are made of. Their output gate is outside
    take(
        ours,
        weight=torch.cat([read, 0 * read[:H], gates]),
        bias=torch.cat([torch.zeros(3 * H), torch.full((H,), 40.0), theirs.igate.bias, theirs.fgate.bias]),
    )
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        inputs = sequences()[:, :steps].to(dtype)
        query, key, value = torch.nn.functional.linear(inputs, read.to(dtype)).chunk(3, 2)
        seen = {}
        hook = theirs.outnorm.register_forward_hook(lambda _module, args, _found, seen=seen: seen.update(found=args[0]))
        theirs.to(dtype)(query, key, value)
        hook.remove()
        # before their normalisation, which divides by the spread of a head's two numbers and so magnifies rounding
        found = seen["found"].transpose(1, 2).flatten(2)
        assert (ours.to(dtype)(inputs) - found).abs().max() < tolerance


def test_cfc():
    cells = peer("ncps.torch.cfc_cell", "ncps")
    torch.manual_seed(0)
    theirs = cells.CfCCell(D, H, backbone_units=H)
    backbone = theirs.backbone[0]
    heads = (theirs.ff1, theirs.ff2, theirs.time_a, theirs.time_b)
    ours = take(
        Cfc(D, H),
        weight=backbone.weight[:, :D],
        recurrent=backbone.weight[:, D:],
        bias=backbone.bias,
        heads=torch.cat([head.weight for head in heads]),
        heads_bias=torch.cat([head.bias for head in heads]),
    )
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        inputs, hidden, found = sequences().to(dtype), torch.zeros(3, H, dtype=dtype), []
        for step in inputs.unbind(1):
            _, hidden = theirs.to(dtype)(step, hidden, 1.0)
            found.append(hidden)
        assert (ours.to(dtype)(inputs) - torch.stack(found, 1)).abs().max() < tolerance


def test_lru():
    package = peer("LRU_pytorch", "LRU-pytorch")
    torch.manual_seed(0)
    theirs = package.LRU(D, H, H)
    ours = take(
        Lru(D, H),
        decay=theirs.nu_log,
        phase=theirs.theta_log,
        scale=theirs.gamma_log,
        input=torch.stack([theirs.B.real, theirs.B.imag]),
        output=torch.stack([theirs.C.real, theirs.C.imag]),
        skip=theirs.D,
        gated=torch.cat([torch.eye(H), torch.zeros(H, H)]),
        gated_bias=torch.cat([torch.zeros(H), torch.full((H,), 40.0)]),
    )
    inputs = sequences()
    # theirs ends where the block's output begins: GELU, then the gated linear unit, here the identity
    expected = torch.nn.functional.gelu(theirs(inputs))
    assert (ours(inputs) - expected).abs().max() < 1e-5


def test_mamba(monkeypatch):
    package = peer("mambapy.mamba", "mambapy")
    monkeypatch.setattr(mamba_module, "_STATES", 16)
    torch.manual_seed(0)
    theirs = package.MambaBlock(package.MambaConfig(d_model=H, n_layers=1, bias=True))
    theirs.out_proj.bias.data.zero_()
    ours = take(
        Mamba(D, H),
        input=theirs.in_proj.weight,
        input_bias=theirs.in_proj.bias,
        window=theirs.conv1d.weight[:, 0],
        window_bias=theirs.conv1d.bias,
        selection=theirs.x_proj.weight,
        step_size=theirs.dt_proj.weight,
        step_size_bias=theirs.dt_proj.bias,
        decay=theirs.A_log,
        skip=theirs.D,
        output=theirs.out_proj.weight,
    )
    assert ours.rank == math.ceil(H / 16) == theirs.config.dt_rank
    inputs = sequences()
    assert (ours(inputs) - theirs(inputs)).abs().max() < 1e-5
