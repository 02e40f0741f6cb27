"""Operations of torch, as functions of states float[3, 6, 4], for the tests of methods that follow operations."""

import math

import torch
from torch.nn import functional as F

W = torch.linspace(-1, 1, 64).double()
SQUARE = torch.sin(torch.arange(16.0)).double().view(4, 4)
KERNEL = torch.arange(12).double().cos().view(3, 4, 1)
PLANE = torch.arange(9).double().cos().view(1, 1, 3, 3)
SIX = torch.tensor([0, 2, 5])


def spd(h):
    """Symmetric positive definite matrices made of the states."""
    return h.transpose(1, 2) @ h + 2 * torch.eye(4).double()


def compl(h):
    return torch.view_as_complex(h.reshape(*h.shape[:2], 2, 2).contiguous())


def one_row(f):
    """A function of one row at a time, stacked."""
    return lambda h: torch.stack([f(row) for row in h])


def _in_place(h):
    h /= 3
    h **= 2
    h += 1
    h -= h.tanh()
    h *= h
    return h


def _masks_in_place(h):
    """Masks that are changed where they are: by an operator, by a method, and by an assignment."""
    mask = torch.ones(h.shape, dtype=torch.bool)
    mask &= h > -0.3
    mask |= h < -0.6
    mask.logical_xor_(h.roll(1, 1) > 0.4)
    count = torch.zeros(h.shape[0], h.shape[2])
    count = count + mask.sum(1)
    return mask * h.tanh(), count


def _written(h):
    h[h > 0.2] = 0.0
    return h


def _without_gradients(h):
    with torch.no_grad():
        return h.amax(2, keepdim=True)


def _scan(h):
    """A diagonal recurrence of complex states, as of LRU and S5."""
    state = torch.zeros(len(h), 4, dtype=torch.complex128)
    poles = torch.polar(torch.full((4,), 0.9).double(), W[:4] * 3)
    for step in h.unbind(1):
        state = poles * state + step * (1 + 0.5j)
    return torch.cat([state.real, state.imag], 1)


# Operations whose rule is a closed form, or is made of closed forms: not one node of a path is evaluated.
CLOSED = {
    # elementwise
    **{
        name: getattr(torch, name)
        for name in (
            "tanh",
            "sigmoid",
            "exp",
            "expm1",
            "exp2",
            "sin",
            "cos",
            "sinh",
            "cosh",
            "tan",
            "asin",
            "acos",
            "atan",
            "asinh",
            "atanh",
            "erf",
            "erfc",
            "erfinv",
            "abs",
            "neg",
            "square",
            "sinc",
            "relu",
            "selu",
            "celu",
            "floor",
            "ceil",
            "round",
            "trunc",
            "sign",
            "frac",
            "rad2deg",
            "deg2rad",
            "positive",
            "nan_to_num",
            "i0",
            "digamma",
            "lgamma",
        )
    },
    **{
        f"F.{name}": getattr(F, name)
        for name in (
            "elu",
            "gelu",
            "silu",
            "mish",
            "softplus",
            "softsign",
            "hardswish",
            "hardsigmoid",
            "hardtanh",
            "logsigmoid",
            "tanhshrink",
            "softshrink",
            "hardshrink",
            "relu6",
            "leaky_relu",
            "normalize",
            "dropout",
            "alpha_dropout",
        )
        if "dropout" not in name
    },
    "F.rrelu": lambda h: F.rrelu(h, training=False),
    "threshold": lambda h: F.threshold(h, 0.1, -2.0),
    "log": lambda h: (h.abs() + 0.1).log(),
    "log2": lambda h: (h.abs() + 0.1).log2(),
    "log1p": lambda h: h.abs().log1p(),
    "log10": lambda h: (h + 2).log10(),
    "sqrt": lambda h: h.abs().sqrt(),
    "rsqrt": lambda h: (h.abs() + 1).rsqrt(),
    "reciprocal": lambda h: (h + 2).reciprocal(),
    "pow 3": lambda h: h**3,
    "pow .5": lambda h: h.abs() ** 0.5,
    "pow -1.5": lambda h: (h + 2) ** -1.5,
    "2 to the h": lambda h: 2**h,
    "float_power": lambda h: h.float_power(2),
    "logit": lambda h: torch.logit(h.sigmoid() * 0.9),
    "acosh": lambda h: (h.abs() + 1.5).acosh(),
    "clamp": lambda h: h.clamp(-0.3, 0.2),
    "clip to others": lambda h: h.clip(h.mean(1, keepdim=True), h.abs() + 1),
    "clamp_min": lambda h: h.clamp_min(0.1),
    "clamp_max": lambda h: torch.clamp_max(h, 0.1),
    "fmod": lambda h: h.fmod(0.3),
    "remainder": lambda h: torch.remainder(h, 0.3),
    "percent": lambda h: h % 0.4,
    "prelu": lambda h: F.prelu(h.transpose(1, 2), torch.tensor([0.2, -0.1, 0.3, 0.4]).double()),
    "prelu of one": lambda h: F.prelu(h, torch.tensor([0.2]).double()),
    "xlogy": lambda h: torch.xlogy(h, h + 3),
    "xlogy constant": lambda h: torch.xlogy(W[:4], h + 3),
    "special.expit": torch.special.expit,
    "special.erfcx": torch.special.erfcx,
    "special.log_ndtr": torch.special.log_ndtr,
    "special.ndtr": torch.special.ndtr,
    "special.i1": torch.special.i1,
    "special.entr": lambda h: torch.special.entr(h + 2),
    "copysign-free": lambda h: h.abs() * h.sign(),
    "in place": lambda h: h.clone().mul_(2).add_(1).tanh_().sub_(h),
    "in place by signs": lambda h: _in_place(h.clone()),
    "xlog1py": lambda h: torch.special.xlog1py(h, h + 2),
    # products
    "mul": lambda h: h * h.roll(1, 1),
    "matmul": lambda h: h @ h.transpose(1, 2),
    "bmm": lambda h: torch.bmm(h, spd(h)),
    "div": lambda h: h / (2 + h.roll(1, 1)),
    "rdiv": lambda h: 1 / (2 + h),
    "div floor": lambda h: h.div(0.3, rounding_mode="floor"),
    "floor_divide": lambda h: h // 0.3,
    "div trunc": lambda h: torch.div(h, 0.3, rounding_mode="trunc"),
    "einsum": lambda h: torch.einsum("btd,bsd->bts", h, h),
    "addcmul": lambda h: torch.addcmul(h, h, h.tanh(), value=0.3),
    "addcdiv": lambda h: torch.addcdiv(h, h, h + 3, value=0.3),
    "lerp": lambda h: torch.lerp(h, h.roll(1, 1), h.sigmoid()),
    "baddbmm": lambda h: torch.baddbmm(spd(h), spd(h), spd(h), beta=0.5, alpha=2),
    "addr": one_row(lambda r: torch.addr(SQUARE, r[0], r[1])),
    "addmm": one_row(lambda r: torch.addmm(SQUARE, r.T, r)),
    "addmv": one_row(lambda r: torch.addmv(r[0], SQUARE, r[1])),
    "outer": one_row(lambda r: torch.outer(r[0], r[1])),
    "dot": one_row(lambda r: torch.dot(r[0], r[1])),
    "kron": one_row(lambda r: torch.kron(r[0], r[1])),
    "mv": one_row(lambda r: torch.mv(r, r[0])),
    "multi_dot": one_row(lambda r: torch.linalg.multi_dot([r, r.T, r])),
    "inner": one_row(lambda r: torch.inner(r, r)),
    "tensordot": one_row(lambda r: torch.tensordot(r, r, dims=([0], [0]))),
    "vecdot": lambda h: torch.linalg.vecdot(h, h.tanh()),
    "conv1d": lambda h: F.conv1d(h.transpose(1, 2), KERNEL),
    "conv2d": lambda h: F.conv2d(h[:, None], PLANE, padding=1),
    "conv1d both": one_row(lambda r: F.conv1d(r.T[None], r[:3].T[None])),
    "conv3d": lambda h: F.conv3d(h[:, None, None], PLANE[None], padding=1),
    "conv_transpose1d": lambda h: F.conv_transpose1d(h.transpose(1, 2), KERNEL.transpose(0, 1), stride=2),
    "conv_transpose2d": lambda h: F.conv_transpose2d(h[:, None], PLANE, stride=2),
    "linear": lambda h: F.linear(h, SQUARE, W[:4]),
    "ldexp": lambda h: torch.ldexp(h, torch.tensor(2.0).double()),
    "hypot": lambda h: torch.hypot(h, h.roll(1, 1) + 1),
    # softmax and its kin
    "softmax": lambda h: h.softmax(1),
    "F.softmax": lambda h: F.softmax(h, 2),
    "softmin": lambda h: F.softmin(h, 2),
    "log_softmax": lambda h: F.log_softmax(h, -1),
    "log_softmax dtype": lambda h: h.log_softmax(1, torch.float64),
    "logsumexp": lambda h: h.logsumexp(1),
    "logsumexp of two": lambda h: torch.logsumexp(h, (1, 2)),
    "logaddexp": lambda h: torch.logaddexp(h, h.roll(1, 1)),
    "logaddexp2": lambda h: torch.logaddexp2(h, h.roll(1, 1)),
    "attention": lambda h: F.scaled_dot_product_attention(h, h, h),
    "causal attention": lambda h: F.scaled_dot_product_attention(h, h, h, is_causal=True),
    "grouped attention": lambda h: F.scaled_dot_product_attention(
        torch.stack([h, h.tanh()], 1), h[:, None], h[:, None], enable_gqa=True
    ),
    # maxima and orders
    "max": lambda h: h.max(1).values,
    "min": lambda h: h.min(1)[0],
    "amax": lambda h: h.amax((1, 2)),
    "amin": lambda h: h.amin(1, keepdim=True),
    "amax kept": lambda h: h.amax((1, 2), keepdim=True),
    "aminmax": lambda h: torch.stack(torch.aminmax(h, dim=1), 1),
    "maximum": lambda h: torch.maximum(h, h.roll(1, 1)),
    "fmin": lambda h: torch.fmin(h, -h),
    "cummax": lambda h: h.cummax(1).values,
    "cummin": lambda h: h.cummin(1)[0],
    "max_pool1d": lambda h: F.max_pool1d(h.transpose(1, 2), 2),
    "max_pool1d wide": lambda h: F.max_pool1d(h.transpose(1, 2), 3, 1, 1),
    "max_pool1d ceil": lambda h: F.max_pool1d(h.transpose(1, 2), 4, 3, ceil_mode=True),
    "max_pool2d": lambda h: F.max_pool2d(h[:, None], 2),
    "max_pool2d wide": lambda h: F.max_pool2d(h[:, None], 3, 2, padding=1),
    "max_pool3d": lambda h: F.max_pool3d(h[:, None, None], (1, 2, 2)),
    "max_pool1d with indices": lambda h: F.max_pool1d(h.transpose(1, 2), 2, return_indices=True)[0],
    "adaptive_max_pool1d": lambda h: F.adaptive_max_pool1d(h.transpose(1, 2), 4),
    "adaptive_max_pool2d": lambda h: F.adaptive_max_pool2d(h[:, None], (4, 2)),
    "topk": lambda h: h.topk(2, 1).values,
    "topk smallest": lambda h: torch.topk(h, 3, dim=1, largest=False)[0],
    "sort": lambda h: h.sort(1).values,
    "sort down": lambda h: torch.sort(h, dim=2, descending=True)[0],
    "msort": one_row(torch.msort),
    "kthvalue": lambda h: h.kthvalue(4, 1).values,
    "median": lambda h: h.median(1).values,
    "median of all": one_row(torch.median),
    "quantile": lambda h: h.quantile(0.3, 1),
    "quantiles": lambda h: torch.quantile(h, torch.tensor([0.2, 0.9]).double(), dim=1).transpose(0, 1),
    # decisions
    "where": lambda h: torch.where(h >= 0, h + 0.5, h.sigmoid()),
    "where of two constants": lambda h: torch.where(h > 0, 1.0, -0.1) * h,
    "Tensor.where": lambda h: h.where(h > 0.1, 0.0),
    "mask times": lambda h: h * (h > 0.1),
    "mask as float": lambda h: (h < h.mean(1, keepdim=True)).float().double() * 2,
    "masked_fill": lambda h: h.masked_fill(h < 0, 0.3),
    "count": lambda h: (h > 0).sum(1) / 6 + h.sum(1) / (1 + (h > 0).sum(1)),
    "not": lambda h: (~(h > 0)) * h,
    "and": lambda h: ((h > -0.2) & (h < 0.2)) * 1.0,
    "or": lambda h: torch.logical_or(h > 0.2, h < -0.2).double(),
    "xor": lambda h: ((h > 0) ^ (h.roll(1, 1) > 0)) * h,
    "any": lambda h: (h > 0.3).any(1) * 1.5,
    "all": lambda h: (h > -0.3).all(1).double(),
    "gather at argmax": lambda h: h.tanh().gather(1, h.argmax(1, keepdim=True)),
    "gather at max": lambda h: (h**2).gather(1, h.max(1, keepdim=True)[1]),
    "write by mask": lambda h: _written(h.clone()),
    "eq": lambda h: (h.round() == 0) * h,
    "masked energies": lambda h: (
        (h @ h.transpose(1, 2)).masked_fill(h[:, :, :1] < h[:, None, :, 1], -math.inf).softmax(2).nan_to_num(0.0) @ h
    ),
    "branch not taken": lambda h: torch.where(h > 0, h.log(), h),
    "int": lambda h: (h * 3).int() * 0.5,
    "reshaped mask": lambda h: (h > 0).transpose(1, 2).reshape(3, -1) * 1.0,
    "masks in place": lambda h: torch.cat([_masks_in_place(h)[0], _masks_in_place(h)[1][:, None].to(h)], 1),
    "stacked masks": lambda h: torch.stack([h > 0, h < 0.2], 1).double(),
    "masked mean": lambda h: (h * (h > 0)).sum(1) / (h > 0).sum(1).clamp(min=1),
    # normalisations, norms, spreads
    "layer_norm": lambda h: F.layer_norm(h, (4,), W[:4], W[4:8]),
    "rms_norm": lambda h: F.rms_norm(h, (4,), W[:4]),
    "rms_norm eps": lambda h: F.rms_norm(h, (4,), eps=1e-6),
    "group_norm": lambda h: F.group_norm(h.transpose(1, 2), 2, W[:4], W[4:8]),
    "instance_norm": lambda h: F.instance_norm(h.transpose(1, 2)),
    "batch_norm": lambda h: F.batch_norm(h.transpose(1, 2), W[:4], W[:4] ** 2 + 1),
    "batch_norm of one": one_row(lambda r: F.batch_norm(r, None, None, W[:4], W[:4], training=True)),
    "local_response_norm": lambda h: F.local_response_norm(h.transpose(1, 2), 3, alpha=0.5),
    "normalize 1": lambda h: F.normalize(h, p=1, dim=1),
    "F.normalize 2": lambda h: F.normalize(h, dim=2),
    "cosine_similarity": lambda h: F.cosine_similarity(h, h.roll(1, 1) + 0.5, dim=2),
    "pairwise_distance": lambda h: F.pairwise_distance(h, W[:4]),
    "cdist": lambda h: torch.cdist(h, SQUARE[:3]),
    "dist": one_row(lambda r: torch.dist(r, W[:4])),
    "norm": lambda h: h.norm(dim=2),
    "norm 1": lambda h: torch.norm(h, 1, 1),
    "norm of all": one_row(torch.norm),
    "vector_norm": lambda h: torch.linalg.vector_norm(h, dim=(1, 2)),
    "inf norm": lambda h: torch.linalg.norm(h, math.inf, dim=1),
    "matrix_norm": torch.linalg.matrix_norm,
    "var": lambda h: h.var(1),
    "var biased": lambda h: h.var(1, unbiased=False, keepdim=True),
    "var of all": one_row(torch.var),
    "std": lambda h: h.std(1),
    "std correction": lambda h: torch.std(h, dim=1, correction=0),
    "var_mean": lambda h: torch.cat(torch.var_mean(h, 1), 1),
    "std_mean": lambda h: torch.cat(torch.std_mean(h, dim=2), 1),
    "glu": lambda h: F.glu(h, 2),
    "revin": lambda h: (h - h.mean(1, keepdim=True)) / (h.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt(),
    # linear
    "cumsum": lambda h: h.cumsum(1),
    "diff": lambda h: h.diff(dim=1),
    "trace": one_row(torch.trace),
    "trapezoid": lambda h: torch.trapezoid(h, dim=1),
    "flip": lambda h: h.flip(1),
    "roll": lambda h: h.roll(2, 1),
    "rot90": lambda h: h.rot90(1, (1, 2)),
    "tril": lambda h: h.tril(),
    "diag_embed": lambda h: h.diag_embed(),
    "diagonal": lambda h: h.diagonal(dim1=1, dim2=2),
    "interpolate": lambda h: F.interpolate(h.transpose(1, 2), scale_factor=0.5),
    "interpolate linear": lambda h: F.interpolate(h.transpose(1, 2), size=9, mode="linear"),
    "avg_pool1d": lambda h: F.avg_pool1d(h.transpose(1, 2), 3, 2),
    "avg_pool2d": lambda h: F.avg_pool2d(h[:, None], 2),
    "adaptive_avg_pool1d": lambda h: F.adaptive_avg_pool1d(h.transpose(1, 2), 4),
    "adaptive_avg_pool2d": lambda h: F.adaptive_avg_pool2d(h[:, None], 2),
    "unfold": lambda h: F.unfold(h[:, None], (2, 2)),
    "fold": lambda h: F.fold(h, (2, 3), (2, 2)) if h.shape[1] == 8 else h,
    "pad": lambda h: F.pad(h, (1, 2)),
    "reflect": lambda h: F.pad(h, (1, 2), mode="reflect"),
    "index_select": lambda h: h.index_select(1, SIX),
    "gather": lambda h: h.gather(1, SIX[None, :, None].expand(3, 3, 4)),
    "take_along_dim": lambda h: h.take_along_dim(SIX[None, :, None], 1),
    "masked_select": lambda h: h.masked_select(torch.eye(4).bool()[:1]).view(3, -1),
    "index_add": lambda h: h.index_add(1, SIX, h[:, :3] * 2),
    "scatter_add": lambda h: torch.zeros_like(h).scatter_add(1, SIX[None, :, None].expand(3, 3, 4), h[:, :3]),
    "pixel_shuffle": lambda h: F.pixel_shuffle(h.transpose(1, 2)[..., None], 2),
    "repeat_interleave": lambda h: h.repeat_interleave(2, 1),
    "fft": lambda h: torch.view_as_real(torch.fft.fft(h, dim=1)),
    "rfft": lambda h: torch.fft.irfft(torch.fft.rfft(h, dim=1) * (0.5 + 0.2j), dim=1),
    "stft": lambda h: torch.view_as_real(
        torch.stft(h[:, :, 0], 4, 2, window=torch.ones(4).double(), return_complex=True)
    ),
    "embedding of a weight": one_row(lambda r: F.embedding(SIX, r)),
    "meshgrid": one_row(lambda r: torch.stack(torch.meshgrid(r[0], r[1], indexing="ij"))),
    "block_diag": one_row(lambda r: torch.block_diag(r, r)),
    "movedim": lambda h: h.movedim(1, 2),
    "detach": lambda h: h.detach().tanh() + h,
    "data": lambda h: h.data * 2,
    "no_grad": lambda h: h - _without_gradients(h),
    "nansum": lambda h: h.nansum(1),
    "unflatten": lambda h: h.unflatten(2, (2, 2)),
    # complex numbers
    "view_as_complex": lambda h: compl(h).real * compl(h).imag,
    "complex product": lambda h: torch.view_as_real(compl(h) * compl(h).roll(1, 1).conj()),
    "complex exp": lambda h: torch.view_as_real(compl(h).exp()),
    "complex abs": lambda h: compl(h).abs(),
    "complex tanh": lambda h: torch.view_as_real(compl(h).tanh()),
    "polar": lambda h: torch.view_as_real(torch.polar(h[..., :2], h[..., 2:])),
    "torch.complex": lambda h: torch.view_as_real(torch.complex(h[..., :2], h[..., 2:]) ** 2),
    "complex scan": _scan,
    "complex matmul": lambda h: (compl(h) @ compl(h).mH).real,
    "complex division": lambda h: torch.view_as_real(compl(h) / (compl(h).roll(1, 1) + 3)),
    "complex norm": lambda h: torch.linalg.vector_norm(compl(h), dim=1),
    "complex sum": lambda h: compl(h).sum(1).imag,
    "complex mean and var": lambda h: compl(h).var(1),
    "complex sqrt": lambda h: torch.view_as_real((compl(h) + 2).sqrt()),
    "exp of i": lambda h: (1j * h).exp().real,
}

# Operations that are integrated along their path.
INTEGRATED = {
    "prod": lambda h: h.prod(1),
    "cumprod": lambda h: (h + 1).cumprod(1),
    "logcumsumexp": lambda h: h.logcumsumexp(1),
    "einsum of three": lambda h: torch.einsum("bth,bth,bsh->bts", h, h, h),
    "atan2": lambda h: torch.atan2(h, h.roll(1, 1) + 2),
    "power of signals": lambda h: (h + 2) ** h.roll(1, 1),
    "bilinear": lambda h: F.bilinear(h, h.tanh(), SQUARE[None].repeat(2, 1, 1)),
    "angle": lambda h: (compl(h) + 2).angle(),
    "det": lambda h: torch.linalg.det(spd(h)),
    "logdet": lambda h: torch.logdet(spd(h)),
    "slogdet": lambda h: torch.linalg.slogdet(spd(h))[1],
    "inv": lambda h: torch.linalg.inv(spd(h)),
    "solve": lambda h: torch.linalg.solve(spd(h), h[:, :4]),
    "cholesky": lambda h: torch.linalg.cholesky(spd(h)),
    "matrix_exp": lambda h: torch.matrix_exp(h[:, :4]),
    "matrix_power": lambda h: torch.linalg.matrix_power(h[:, :4], 3),
    "cross": lambda h: torch.linalg.cross(h[..., :3], h[..., 1:].tanh()),
    "cov": one_row(torch.cov),
    "corrcoef": one_row(lambda r: torch.corrcoef(r + W[:24].view(6, 4))),
    "lp_pool1d": lambda h: F.lp_pool1d(h.transpose(1, 2) + 2, 2.0, 2),
    "norm 3": lambda h: (h + 2).norm(3, dim=1),
    "mse_loss": one_row(lambda r: F.mse_loss(r, r.roll(1, 0))),
    "cross_entropy": one_row(lambda r: F.cross_entropy(r, SIX.repeat(2) % 4)),
    "kl_div": one_row(lambda r: F.kl_div(r, r.softmax(0), reduction="batchmean")),
    "binary_cross_entropy": one_row(lambda r: F.binary_cross_entropy(r.sigmoid(), r.cos().square())),
    "gaussian_nll_loss": one_row(lambda r: F.gaussian_nll_loss(r, r.roll(1, 0), r.exp())),
    "poisson_nll_loss": one_row(lambda r: F.poisson_nll_loss(r, r.exp())),
    "cosine_embedding_loss": one_row(lambda r: F.cosine_embedding_loss(r + 1, r.roll(1, 0) + 1, torch.ones(6))),
    "soft_margin_loss": one_row(lambda r: F.soft_margin_loss(r, torch.ones(6, 4).double())),
    "grid_sample of the input": lambda h: F.grid_sample(
        h[:, None], torch.zeros(3, 2, 2, 2).double() + 0.1, align_corners=False
    ),
    "embedding_bag": one_row(lambda r: F.embedding_bag(SIX.view(1, 3), r, mode="mean")),
    "igamma": lambda h: torch.special.gammaln(h + 3) * torch.special.multigammaln(h + 3, 2),
    "cumulative product of gates": lambda h: h.sigmoid().cumprod(1) * h,
    "linear with a bias that follows": one_row(lambda r: F.linear(r, r, r[:, 0])),
    "householder": lambda h: torch.linalg.householder_product(h, h[:, 0] + 0.5),
    "lu_solve": lambda h: torch.linalg.lu_solve(*torch.linalg.lu_factor(spd(h)), h[:, :4]),
    "sgn of complex": lambda h: torch.view_as_real((compl(h) + 2).sgn()),
    "renorm": one_row(lambda r: torch.renorm(r, 2, 0, 100.0)),
    "pinv": lambda h: torch.linalg.pinv(h + torch.eye(6, 4).double() * 2),
}
