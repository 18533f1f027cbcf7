"""The catalogue: every method of the library, registered with what it can do."""

from __future__ import annotations

from dynlib.steppers.adams_bashforth import AB2, AB3
from dynlib.steppers.bdf import BDF2, NDF
from dynlib.steppers.composition import KAHAN_LI8, VERLET, YOSHIDA4, YOSHIDA6
from dynlib.steppers.dirk import ESDIRK54, KENCARP4, SDIRK2, TR_BDF2
from dynlib.steppers.dormand_prince_8 import DOP853
from dynlib.steppers.explicit_rk import BS32, DORMAND_PRINCE, EULER, MIDPOINT, RK4, TSIT5
from dynlib.steppers.registry import ADAPTIVE_MEMORY, Memory, StepperSpec, register
from dynlib.steppers.rosenbrock import RODAS4, RODAS5P
from dynlib.steppers.stochastic import EULER_MARUYAMA, MILSTEIN, SRI
from dynlib.steppers.switching import AUTO
from dynlib.steppers.taylor import order_for
from dynlib.steppers.verner import VERNER7, VERNER9


def control(beta1: float = 0.7, beta2: float = -0.4, beta3: float = 0.0, *, min_factor: float = 0.2,
            max_factor: float = 10.0, safety: float = 0.9) -> tuple[tuple[str, float], ...]:  # fmt: skip
    """Tolerances and control of an adaptive method; see `compile/advance/control.py` for the exponents."""
    return (
        ("rtol", 1e-5), ("atol", 1e-8), ("safety", safety), ("min_factor", min_factor), ("max_factor", max_factor),
        ("max_step", float("inf")), ("min_step", 0.0), ("beta1", beta1), ("beta2", beta2), ("beta3", beta3),
    )  # fmt: skip


_VERNER = "Verner, Numer. Algorithms 53 (2010) 383–396"
_HNW = "Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, 2nd ed. (1993)"
_HW = "Hairer & Wanner, Solving Ordinary Differential Equations II, 2nd ed. (1996)"
_NEWTON = (("newton_rtol", 1e-9), ("newton_atol", 1e-12))
_IMPLICIT = control(1.0, 0.0, max_factor=6.0)
"""As in the code RODAS of Hairer & Wanner; PI control takes more steps for one accuracy on the stiff test problems."""

_aliases: tuple[str, ...]
register(StepperSpec("map", ("map",), "iteration", 0, 1, "hold", 0, "iteration of a map", "—", aliases=("discrete",)))
for _name, _tableau, _text, _ref, _aliases in (
    ("euler", EULER, "explicit Euler", f"{_HNW}, I.7", ("fe",)),
    ("rk2", MIDPOINT, "explicit midpoint", f"{_HNW}, II.1", ("midpoint", "rk2_midpoint")),
    ("rk4", RK4, "classical Runge–Kutta", f"{_HNW}, II.1, table 1.2", ("rk4_classic",)),
):
    register(
        StepperSpec(
            _name, ("ode",), "explicit_rk", _tableau.order, _tableau.stages, "hermite", 3, _text, _ref, _tableau,
            aliases=_aliases,
        )
    )  # fmt: skip
for _name, _ab in (("ab2", AB2), ("ab3", AB3)):
    register(
        StepperSpec(
            _name, ("ode",), "adams_bashforth", _ab.order, 1, "hermite", 3,
            f"Adams–Bashforth with {_ab.order} steps, started by classical Runge–Kutta", f"{_HNW}, III.1, eq. 1.5", _ab,
            memory=(
                *(Memory(f"f{j}", "reals", vector=True) for j in range(1, _ab.order)),
                Memory("history", "counts", most=_ab.order - 1),
            ),
        )
    )  # fmt: skip
for _name, _tableau, _text, _ref, _options, _aliases in (
    ("rk45", DORMAND_PRINCE, "Dormand–Prince 5(4)",
     f"Dormand & Prince, J. Comput. Appl. Math. 6 (1980) 19–26; control and dense output: {_HNW}, II.4–II.6",
     control(0.85, -0.2), ("dopri5", "dp5")),
    ("bs32", BS32, "Bogacki–Shampine 3(2)", "Bogacki & Shampine, Appl. Math. Lett. 2 (1989) 321–325", control(),
     ("rk23", "bs23")),
    ("tsit5", TSIT5, "Tsitouras 5(4)", "Tsitouras, Comput. Math. Appl. 62 (2011) 770–775", control(), ("tsitouras5",)),
    ("dop853", DOP853, "Dormand–Prince 8(5,3) of Hairer", f"{_HNW}, II.5 and II.10, code DOP853",
     control(safety=0.8), ("dop8",)),  # a fifth fewer attempts on the test problems than with the code's own control
    ("verner7", VERNER7, "Verner's most efficient 7(6)", f"{_VERNER}; extension of order 7", control(), ("vern7",)),
    ("verner9", VERNER9, "Verner's most efficient 9(8)", f"{_VERNER}; extension of order 9", control(), ("vern9",)),
):  # fmt: skip
    register(
        StepperSpec(
            _name, ("ode",), "explicit_rk", _tableau.order, _tableau.stages, "dense", _tableau.dense_order,
            f"{_text} with step-size control", _ref, _tableau,
            adaptive=True, aliases=_aliases, options=_options, memory=ADAPTIVE_MEMORY,
        )
    )  # fmt: skip
_GNI = "Hairer, Lubich & Wanner, Geometric Numerical Integration, 2nd ed. (2006)"
_force = (Memory("k1", "reals", vector=True), Memory("k1_valid", "counts", most=1))
for _name, _composition, _text, _ref, _aliases in (
    ("verlet", VERLET, "Störmer–Verlet in velocity form", f"{_GNI}, I.1.4", ("leapfrog", "velocity_verlet")),
    ("yoshida4", YOSHIDA4, "composition of Yoshida", "Yoshida, Phys. Lett. A 150 (1990) 262–268", ("forest_ruth",)),
    (
        "yoshida6",
        YOSHIDA6,
        "composition of Yoshida, solution A",
        "Yoshida, Phys. Lett. A 150 (1990) 262–268",
        ("y6a", "yoshida6a"),
    ),
    (
        "kahan_li8",
        KAHAN_LI8,
        "composition s17odr8a of Kahan and Li",
        "Kahan & Li, Math. Comput. 66 (1997) 1089–1099",
        (),
    ),
):
    register(
        StepperSpec(
            _name, ("ode",), "symplectic", _composition.order, _composition.stages, "dense", _composition.order,
            f"{_text}, for separable Hamiltonian systems", _ref, _composition,
            symplectic=True, aliases=_aliases, memory=_force,
        )
    )  # fmt: skip
for _name, _method, _text, _ref, _options, _aliases in (
    ("rodas5p", RODAS5P, "Rosenbrock method RODAS5P", "Steinebach, BIT Numer. Math. 63 (2023) 27", _IMPLICIT, ()),
    ("rodas4", RODAS4, "Rosenbrock method RODAS", f"{_HW}, IV.7 and IV.10, code RODAS", _IMPLICIT, ("rodas",)),
):
    register(
        StepperSpec(
            _name, ("ode",), "rosenbrock", _method.order, _method.stages, "dense", _method.dense_order,
            f"{_text}, stiffly accurate, with step-size control", _ref, _method,
            adaptive=True, stiff=True, aliases=_aliases, options=_options, memory=ADAPTIVE_MEMORY,
        )
    )  # fmt: skip
register(
    StepperSpec(
        "sdirk2", ("ode",), "dirk", SDIRK2.order, SDIRK2.stages, "dense", SDIRK2.dense_order,
        "diagonally implicit Runge–Kutta with two stages, L-stable",
        "Alexander, SIAM J. Numer. Anal. 14 (1977) 1006–1021",
        SDIRK2, stiff=True, options=_NEWTON,
    )
)  # fmt: skip
for _name, _diagonal, _text, _ref, _aliases in (
    (
        "tr-bdf2a",
        TR_BDF2,
        "TR-BDF2",
        "Bank et al., IEEE Trans. Electron Devices 32 (1985) 1992–2007; error estimate: Hosea & Shampine, "
        "Appl. Numer. Math. 20 (1996) 21–37",
        ("tr_bdf2a", "trbdf2"),
    ),
    (
        "kencarp4",
        KENCARP4,
        "ESDIRK 4(3) of ARK4(3)6L[2]SA",
        "Kennedy & Carpenter, Appl. Numer. Math. 44 (2003) 139–181",
        (),
    ),
    ("esdirk54", ESDIRK54, "ESDIRK5(4)7L[2]SA2", "Kennedy & Carpenter, Appl. Numer. Math. 146 (2019) 221–244", ()),
):
    register(
        StepperSpec(
            _name, ("ode",), "dirk", _diagonal.order, _diagonal.stages, "dense" if _diagonal.dense else "hermite",
            _diagonal.dense_order or 3,
            f"{_text}, L-stable, with step-size control", _ref, _diagonal,
            adaptive=True, stiff=True, aliases=_aliases, options=_IMPLICIT, memory=ADAPTIVE_MEMORY,
        )
    )  # fmt: skip
register(
    StepperSpec(
        "bdf2", ("ode",), "bdf", 2, 1, "dense", 2, "backward differentiation of order 2, begun with SDIRK2",
        f"{_HNW}, III.1, eq. 1.22'; {_HW}, V.1", BDF2,
        stiff=True, options=_NEWTON,
        memory=(Memory("past1", "reals", vector=True), Memory("history", "counts", most=1)),
    )
)  # fmt: skip
register(
    StepperSpec(
        "bdf2a", ("ode",), "bdf", 2, 1, "dense", 2, "backward differentiation of order 2 with steps of any size",
        f"{_HNW}, III.5; guess and error: Skelboe, BIT 17 (1977) 91–107", BDF2,
        adaptive=True, stiff=True, options=control(1.0, 0.0, max_factor=2.0),
        memory=(
            *ADAPTIVE_MEMORY, Memory("past1", "reals", vector=True), Memory("past2", "reals", vector=True),
            Memory("h1", "times"), Memory("h2", "times"), Memory("history", "counts", most=2),
        ),
    )
)  # fmt: skip
register(
    StepperSpec(
        "bdf", ("ode",), "bdf", NDF.orders, 1, "dense", NDF.orders,
        "backward differentiation of orders 1 to 5 in the form of differences",
        "Shampine & Reichelt, SIAM J. Sci. Comput. 18 (1997) 1–22; Byrne & Hindmarsh, ACM Trans. Math. Softw. 1 (1975)"
        " 71–96", NDF,
        adaptive=True, stiff=True, options=control(safety=0.8)[:-3], aliases=("ndf",),
        memory=(
            Memory("differences", "reals", vector=True, rows=NDF.orders + 2),
            Memory("h", "times"),  # the step to try next, as with all adaptive methods
            Memory("spacing", "times"),  # the step of the differences
            Memory("order", "counts", most=NDF.orders),  # 0: no differences
            Memory("equal", "counts"),  # steps of this size and order
            Memory("rejected", "counts", on_edit="keep"),
        ),
    )
)  # fmt: skip
register(
    StepperSpec(
        "auto", ("ode",), "switching", 5, 8, "dense", 4, "Dormand–Prince 5(4), or RODAS5P where the problem is stiff",
        f"{_HW}, IV.2; Steinebach, BIT Numer. Math. 63 (2023) 27", AUTO,
        adaptive=True, stiff=True, options=control(0.85, -0.2, max_factor=6.0),
        memory=(
            *ADAPTIVE_MEMORY, Memory("stiff", "counts", most=1), Memory("signs", "counts"), Memory("calm", "counts"),
        ),
    )
)  # fmt: skip
_taylor_options = (
    ("rtol", 1e-5), ("atol", 1e-8), ("safety", 0.9), ("max_factor", 10.0), ("max_step", float("inf")),
    ("min_step", 0.0), ("order", 0.0),
)  # fmt: skip
register(
    StepperSpec(
        "taylor", ("ode",), "taylor", order_for(dict(_taylor_options)), 1, "dense", order_for(dict(_taylor_options)),
        "Taylor series of the order that the tolerance asks for, with control of the last terms and of the defect",
        "Jorba & Zou, Experimental Mathematics 14 (2005) 99–117; Barrio, Appl. Math. Comput. 163 (2005) 525–545",
        adaptive=True, options=_taylor_options,
        memory=(Memory("h", "times"), Memory("rejected", "counts", on_edit="keep")), order_from=order_for,
    )
)  # fmt: skip
for _scheme, _text, _ref in (
    (EULER_MARUYAMA, "Euler–Maruyama, strong order 0.5", "Kloeden & Platen (1992), 10.2"),
    (MILSTEIN, "Milstein without derivatives, diagonal noise, strong order 1", "Kloeden & Platen (1992), 11.1"),
    (SRI, "stochastic Runge–Kutta SRI1W1, diagonal noise, strong order 1.5",
     "Rößler, SIAM J. Numer. Anal. 48 (2010) 922–952, table 6.2"),
):  # fmt: skip
    register(
        StepperSpec(
            _scheme.name, ("sde",), "stochastic", int(_scheme.weak_order), _scheme.stages, "linear", 1,
            _text, _ref, _scheme,
        )
    )  # fmt: skip
