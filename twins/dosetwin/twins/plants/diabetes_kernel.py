"""One step of the UVA/Padova plant, as cheap as its mathematics allows; equations in `diabetes`.

The right-hand side is taken apart, from where things come to where they go:

- Insulin (Isc1, Isc2, Ip, Il, I1, X, XL) is a linear chain. Each link x' = -k x + f(t) is solved exactly for
  an f that is linear over the step (exponential time differencing; the pair Ip, Il by its 2x2 matrix):
  x1 = e^{-kh} x0 + w0 f0 + w1 f1,  w1 = h phi2(-kh), w0 = h phi1(-kh) - w1.
- Qsto1 is exact (food arrives at a constant rate); Qsto2, whose rate kgut depends on what is in the stomach,
  takes one classical Runge-Kutta step. What left the stomach, and what the gut absorbed, follow from the mass
  balance, so that no carbohydrate is lost or made.
- Gp, Gt: the linear exchange A = [[-k1, k2], [k1, -k2]] exactly, since e^{Ah} = I + (1 - e^{-kh})/k A with
  k = k1 + k2; production, use and excretion by the two-stage scheme ETD2RK.

Each of the 13 states is one contiguous vector over the patients. At 1 min it is as accurate as Runge-Kutta on
everything. Compiled for a CPU, a step is 34 kernels and 15 copies (Runge-Kutta: 79 and 3). Their number
bounds it more than the arithmetic: a kernel of one multiply-add takes nearly as long as a tanh.

Sources: Cox & Matthews 2002, J Comput Phys 176:430, doi:10.1006/jcph.2002.6995 (ETD2RK, the phi functions);
Hochbruck & Ostermann 2010, Acta Numerica 19:209, doi:10.1017/S0962492910000048.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

if TYPE_CHECKING:
    from dosetwin.twins.plants.diabetes import DiabetesParameters

PMOL_PER_U = 6000.0
SERIES_BELOW = 0.1
"""Below this |z| the phi functions take their series: the closed form would lose digits in float32."""

States = tuple[Array, ...]
"""The 13 states of `diabetes`, one vector [n] each."""


class Link(NamedTuple):
    """x1 = decay x0 + start f0 + end f1 for x' = -k x + f, f linear over the step; arrays [n]."""

    decay: Float[Array, " n"]
    start: Float[Array, " n"]
    end: Float[Array, " n"]

    def over(
        self, x: Float[Array, " n"], f0: Float[Array, " n"], f1: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """The link's state at the end of the step."""
        return self.decay * x + self.start * f0 + self.end * f1


class Propagator(NamedTuple):
    """What one step length makes of the parameters; computed once for many steps. Arrays [n], h a number."""

    h: Float[Array, ""]
    Isc1: Link
    Isc2: Link
    plasma: tuple[Array, ...]
    X: Link
    I: Link  # noqa: E741
    Qsto1: Link
    Qsto1_half: Link
    Qgut: Link
    exchange: tuple[Array, ...]
    Gsc: Link
    pmol_per_kg_U: Float[Array, " n"]
    per_Vi: Float[Array, " n"]
    absorbed: Float[Array, " n"]
    alpha: Float[Array, " n"]
    gamma: Float[Array, " n"]
    half_range: Float[Array, " n"]


def phi(z: Float[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """phi1 = (e^z - 1)/z and phi2 = (e^z - 1 - z)/z^2 for z <= 0, to float32's precision everywhere."""
    near = jnp.abs(z) < SERIES_BELOW
    far = jnp.where(near, -1.0, z)
    grown = jnp.expm1(far)
    first = 1 + z / 2 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5)))
    second = 0.5 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5 * (1 + z / 6))))
    return jnp.where(near, first, grown / far), jnp.where(near, second, (grown - far) / far**2)


def link(k: Float[Array, " n"], h: Float[Array, ""]) -> Link:
    """The exact step of x' = -k x + f."""
    first, second = phi(-k * h)
    return Link(jnp.exp(-k * h), h * (first - second), h * second)


def prepare(p: DiabetesParameters, dt_min: float | Float[Array, ""]) -> Propagator:
    """The propagator of one step of `dt_min` minutes."""
    h = jnp.asarray(dt_min, p.BW.dtype)
    k = p.k1 + p.k2
    first, second = phi(-k * h)
    exchange = (h * first, 0.5 * h, (0.5 * h - h * second) / k, h, (h - h * first) / k)
    return Propagator(
        h=h,
        Isc1=link(p.ka1 + p.kd, h),
        Isc2=link(p.ka2, h),
        plasma=_plasma(p, h),
        X=link(p.p2u, h),
        I=link(p.ki, h),
        Qsto1=link(p.kmax, h),
        Qsto1_half=link(p.kmax, 0.5 * h),
        Qgut=link(p.kabs, h),
        exchange=exchange,
        Gsc=link(p.ksc, h),
        pmol_per_kg_U=PMOL_PER_U / p.BW,
        per_Vi=1.0 / p.Vi,
        absorbed=p.f / p.BW,
        alpha=2.5 / (1.0 - p.b),
        gamma=2.5 / p.d,
        half_range=0.5 * (p.kmax - p.kmin),
    )


def _plasma(p: DiabetesParameters, h: Float[Array, ""]) -> tuple[Array, ...]:
    """Decay and weights of Ip, Il: f(B) = f(l1) + (f(l1) - f(l2)) / (l1 - l2) (B - l1)."""
    leaves, returns, extracted, ends = -(p.m2 + p.m4), p.m1, p.m2, -(p.m1 + p.m30)
    middle = 0.5 * (leaves + ends)
    root = jnp.sqrt((0.5 * (leaves - ends)) ** 2 + returns * extracted)
    slow, fast = middle + root, middle - root
    (slow_1, slow_2), (fast_1, fast_2) = phi(slow * h), phi(fast * h)

    def function(at_slow: Array, at_fast: Array) -> tuple[Array, Array, Array, Array]:
        d = (at_slow - at_fast) / (2.0 * root)
        return (
            at_slow + d * (leaves - slow),
            d * returns,
            d * extracted,
            at_slow + d * (ends - slow),
        )

    start = function(h * (slow_1 - slow_2), h * (fast_1 - fast_2))
    end = function(h * slow_2, h * fast_2)
    return (*function(jnp.exp(slow * h), jnp.exp(fast * h)), start[0], start[2], end[0], end[2])


def advance(
    p: DiabetesParameters,
    r: Propagator,
    x: States,
    Dm: Float[Array, " n"],
    insulin_U_per_min: Float[Array, " n"],
    carbohydrate_g_per_min: Float[Array, " n"],
    S: Float[Array, " n"] | float,
) -> States:
    """The 13 states one step later; inputs, meal size `Dm` (mg) and sensitivity `S` hold over the step."""
    Qsto1, Qsto2, Qgut, Gp, Gt, Ip, X, I1, XL, Il, Isc1, Isc2, Gsc = x
    h = r.h

    u = insulin_U_per_min * r.pmol_per_kg_U
    Isc1_ = r.Isc1.over(Isc1, u, u)
    Isc2_ = r.Isc2.over(Isc2, p.kd * Isc1, p.kd * Isc1_)
    into, into_ = p.ka1 * Isc1 + p.ka2 * Isc2, p.ka1 * Isc1_ + p.ka2 * Isc2_
    e11, e12, e21, e22, s1, s2, t1, t2 = r.plasma
    Ip_ = e11 * Ip + e12 * Il + s1 * into + t1 * into_
    Il_ = e21 * Ip + e22 * Il + s2 * into + t2 * into_
    level, level_ = Ip * r.per_Vi, Ip_ * r.per_Vi
    X_ = r.X.over(X, p.p2u * (level - p.Ib), p.p2u * (level_ - p.Ib))
    I1_ = r.I.over(I1, p.ki * level, p.ki * level_)
    XL_ = r.I.over(XL, p.ki * I1, p.ki * I1_)

    D = carbohydrate_g_per_min * 1000.0
    Qsto1_, Qsto1_h = r.Qsto1.over(Qsto1, D, D), r.Qsto1_half.over(Qsto1, D, D)
    fed: Bool[Array, " n"] = Dm > 0
    per_Dm = 1.0 / jnp.maximum(Dm, 1.0)

    def emptying(solid: Array, liquid: Array) -> Array:
        q = (solid + liquid) * per_Dm
        shape = jnp.tanh(r.alpha * (q - p.b)) - jnp.tanh(r.gamma * (q - p.d)) + 2.0
        return jnp.where(fed, p.kmin + r.half_range * shape, p.kmax) * liquid

    out = emptying(Qsto1, Qsto2)
    k_1 = p.kmax * Qsto1 - out
    k_2 = p.kmax * Qsto1_h - emptying(Qsto1_h, Qsto2 + 0.5 * h * k_1)
    k_3 = p.kmax * Qsto1_h - emptying(Qsto1_h, Qsto2 + 0.5 * h * k_2)
    out_ = emptying(Qsto1_, Qsto2 + h * k_3)
    k_4 = p.kmax * Qsto1_ - out_
    Qsto2_ = jnp.maximum(Qsto2 + h / 6.0 * (k_1 + 2.0 * (k_2 + k_3) + k_4), 0.0)
    emptied = ((Qsto1 - Qsto1_) + (Qsto2 - Qsto2_)) / h + D
    rise = 0.5 * (out_ - out)
    Qgut_ = r.Qgut.over(Qgut, emptied - rise, emptied + rise)
    Ra = r.absorbed * ((Qgut - Qgut_) / h + emptied)
    rise = r.absorbed * 0.5 * p.kabs * (Qgut_ - Qgut)

    def sources(Gp: Array, Gt: Array, X: Array, XL: Array, Ra: Array) -> tuple[Array, Array]:
        EGP = jnp.maximum(p.kp1 - p.kp2 * Gp - p.kp3 * S * XL, 0.0)
        E = jnp.maximum(p.ke1 * (Gp - p.ke2), 0.0)
        Uid = jnp.maximum(p.Vm0 + p.Vmx * S * X, 0.0) * Gt / (p.Km0 + Gt)
        return EGP + Ra - p.Fsnc - E, -Uid

    mixed, w, w_mixed, v, v_mixed = r.exchange
    Np, Nt = sources(Gp, Gt, X, XL, Ra - rise)
    moved = mixed * (p.k2 * Gt - p.k1 * Gp) + v_mixed * (p.k2 * Nt - p.k1 * Np)
    Gp_, Gt_ = Gp + moved + v * Np, Gt - moved + v * Nt
    Np_, Nt_ = sources(Gp_, Gt_, X_, XL_, Ra + rise)
    dp, dt = Np_ - Np, Nt_ - Nt
    moved = w_mixed * (p.k2 * dt - p.k1 * dp)
    Gp_, Gt_ = jnp.maximum(Gp_ + w * dp + moved, 0.0), jnp.maximum(Gt_ + w * dt - moved, 0.0)
    Gsc_ = r.Gsc.over(Gsc, p.ksc * Gp, p.ksc * Gp_)
    return (Qsto1_, Qsto2_, Qgut_, Gp_, Gt_, Ip_, X_, I1_, XL_, Il_, Isc1_, Isc2_, Gsc_)
