"""Formulas against NumPy, and against those who mean harm."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kartotek.errors import BadRequest
from kartotek.indices import COUNTED, INDICES
from kartotek.product import COMMON_NAMES
from pixels import arithmetic, formula

NUMPY = {name: getattr(np, name) for name in ("abs", "sqrt", "log", "log10", "exp", "where")} | {
    "min": lambda *values: np.minimum.reduce(np.broadcast_arrays(*values)),
    "max": lambda *values: np.maximum.reduce(np.broadcast_arrays(*values)),
}
"""What Python makes of the same text, for what has no NaN in it."""

_values = st.recursive(
    st.sampled_from(["red", "nir", "B8A", "0.5", "3", "1e-3", ".25"]),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["+", "-", "*", "/"]), part).map(lambda found: f"({' '.join(found)})"),
        st.tuples(part, st.sampled_from(["+", "-", "*", "/"]), part).map("".join),
        part.map(lambda text: f"-{text}"),
        part.map(lambda text: f"({text})**2"),
        st.tuples(st.sampled_from(["abs", "sqrt", "log", "log10", "exp"]), part).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), part, part, part).map(lambda p: f"{p[0]}({', '.join(p[1:])})"),
        st.tuples(part, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), part, part, part).map(
            lambda p: f"where({p[0]} {p[1]} {p[2]}, {p[3]}, {p[4]})"
        ),
    ),
    max_leaves=12,
)
formulas = _values.map(lambda text: f"red + {text}")
pixels = arrays.arrays(np.float64, (3, 7), elements=st.floats(0.001, 1.5))


@settings(deadline=None, max_examples=300)
@given(formulas, pixels, pixels, pixels)
def test_a_formula_is_what_numpy_makes_of_it(text, red, nir, narrow):
    try:
        parsed = formula.parse(text)
    except BadRequest as error:
        assert "no finite value" in str(error) or "levels" in str(error)
        return
    values = {"red": red, "nir": nir, "B8A": narrow}
    with np.errstate(all="ignore"):
        try:
            expected = np.broadcast_to(eval(text, {"__builtins__": {}}, NUMPY | values), red.shape)
        except ArithmeticError:  # of Python's own numbers, that stand where `where` does not look
            return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = parsed.evaluate(values)
    assert not np.isinf(found).any()
    # Where NumPy passes through what is infinite or no number, the value is none here.
    same = np.isfinite(found)
    np.testing.assert_allclose(found[same], expected[same], rtol=1e-9, atol=1e-12)
    if not any(word in text for word in ("/", "log", "sqrt", "exp")):
        assert np.array_equal(same, np.isfinite(expected))


@settings(deadline=None)
@given(formulas)
def test_a_formula_written_out_is_the_same_formula(text):
    try:
        parsed = formula.parse(text)
    except BadRequest:
        return
    again = formula.parse(parsed.text)
    assert (again.text, again.names, again.program) == (parsed.text, parsed.names, parsed.program)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("((nir)-(red))/((nir+red))", "(nir - red) / (nir + red)"),
        ("(a-b)-c", "a - b - c"),
        ("a-(b-c)", "a - (b - c)"),
        ("a/(b*c)", "a / (b * c)"),
        ("-a**2", "-a ** 2"),
        ("(-a)**(-0.5)", "(-a) ** -0.5"),
        ("a*-b", "a * -b"),
        ("(a<b)*(c>=1e4)", "(a < b) * (c >= 10000)"),
        ("where(a>0,\n\tB8A,.5)", "where(a > 0, B8A, 0.5)"),
        ("1e-5*VV", "1e-05 * VV"),
    ],
)
def test_a_formula_is_written_in_one_way(text, written):
    assert formula.parse(text).text == written


def test_names_stand_in_their_order_and_once():
    assert formula.parse("swir16 + max(B04, swir16, red) - log(B04) * B8A").names == ("swir16", "B04", "red", "B8A")


@pytest.mark.parametrize(
    "text",
    ["a / b", "1 / (1 / b + a)", "min(1 / b, 5) + a", "exp(-1 / b) + a", "a * 0 + (1 / b > 3)", "where(1 / b, a, a)",
     "max(-1 / b, a)", "a + b ** -1", "a + (1 / b) ** -1", "a + (1 / b) ** 0", "a + log(b)", "a + log10(b)",
     "a + sqrt(b - 1)", "a + (b - 1) ** 0.5", "a / (1e308 * (10 ** 2 - b))", "a + exp(1e4 * (1 - b))"],
)  # fmt: skip
def test_what_has_no_finite_value_is_no_value_whatever_is_made_of_it(text):
    found = formula.parse(text).evaluate({"a": np.array([1.0, 2.0]), "b": np.array([0.0, 0.0])})
    assert np.isnan(found).all()


@pytest.mark.parametrize(
    "text", ["a + b", "a ** 0 + b", "where(a > 0, b, b)", "where(b > 0, b, a)", "where(b, 1, a)", "min(a, b)",
             "max(b, a)", "(b >= 0) * (a > 0)", "a == b", "a != b", "abs(a) * 0 + b", "where(1, b, a)"],
)  # fmt: skip
@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_a_pixel_without_one_of_the_bands_has_no_value(text, nothing):
    found = formula.parse(text).evaluate({"a": np.array([nothing, 2.0]), "b": np.array([1.0, 1.0])})
    assert np.isnan(found).tolist() == [True, False]


def test_where_takes_its_choice_and_nothing_of_the_other():
    values = {"red": np.array([0.0, 0.1]), "nir": np.array([0.0, 0.3])}
    found = formula.parse("where(nir + red == 0, -1, (nir - red) / (nir + red))").evaluate(values)
    assert found.tolist() == pytest.approx([-1, 0.5])


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (256, 257), (2, 130, 131)])
def test_any_shape_will_do_and_bands_stay_as_they_are(shape):
    red, nir = np.random.default_rng(1).uniform(0, 1, (2, *shape))
    before = red.copy(), nir.copy()
    found = formula.parse("where(nir > red, sqrt(nir) - red ** 3, -red)").evaluate({"nir": nir, "red": red, "b": red})
    np.testing.assert_allclose(found, np.where(nir > red, np.sqrt(nir) - red**3, -red), rtol=1e-12)
    assert np.array_equal(before[0], red) and np.array_equal(before[1], nir)


def test_bands_that_do_not_lie_in_a_row_are_computed_with_as_well():
    both = np.random.default_rng(2).uniform(0, 1, (300, 200, 2)).astype(np.float32)
    found = formula.parse("a / b").evaluate({"a": both[::2, ::-1, 0], "b": both[::2, ::-1, 1]})
    np.testing.assert_allclose(found, both[::2, ::-1, 0].astype(float) / both[::2, ::-1, 1], rtol=1e-12)


def test_bands_of_unlike_shapes_are_named():
    with pytest.raises(ValueError, match=r"a \(2,\), b \(3,\)"):
        formula.parse("a + b").evaluate({"a": np.zeros(2), "b": np.zeros(3)})


def test_a_name_alone_gives_an_array_of_its_own():
    red = np.array([0.1, np.inf])
    found = formula.parse("red").evaluate({"red": red})
    assert found[0] == 0.1 and np.isnan(found[1]) and np.isinf(red[1])


@pytest.mark.parametrize("name", INDICES)
def test_an_index_is_what_numpy_makes_of_reflectance(name):
    index = INDICES[name]
    parsed = formula.parse(index.formula)
    assert parsed.text == index.formula and set(parsed.names) <= set(COMMON_NAMES)
    random = np.random.default_rng(7)
    values = {band: random.uniform(0.001, 1.2, (64, 65)) for band in parsed.names}
    for number, band in enumerate(values.values()):
        band[0] = 0.0  # all of them: zero denominators
        band[1, number::3] = -0.001
        band[2, number::5] = np.nan
    physical = {band: np.maximum(pixels, 0) for band, pixels in values.items()}
    with np.errstate(all="ignore"):
        expected = eval(index.formula, {"__builtins__": {}}, NUMPY | physical)
    expected[~np.isfinite(expected)] = np.nan
    found = formula.compute(index, values)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert np.isnan(found[2]).any() and np.isfinite(found[3:]).all()


@pytest.mark.parametrize("name", COUNTED)
def test_the_tile_of_an_index_is_what_squares_count(name):
    index = COUNTED[name]
    first, second = np.random.default_rng(3).uniform(-0.1, 1, (2, 200, 200)).round(2)
    first[0, :9] = np.nan
    found = formula.compute(index, {index.first: first, index.second: second})
    assert np.array_equal(found, index.compute(first, second), equal_nan=True)
    assert np.isnan(found[1:]).any()


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 1, "the formula ends; a band, a number or ( would do"),
        ("nir +", 6, "the formula ends; a band, a number or ( would do"),
        ("nir red", 5, "'red' is found; what may follow: < <= > >= == != + - * / ** the end of it (in an address"),
        ("(nir", 5, "the formula ends; what may follow: < <= > >= == != + - * / ** )"),
        ("nir)", 4, "')' is found"),
        ("nir,red", 4, "',' is found"),
        ("a < b < c", 7, "'<' is found; what may follow: + - * / **"),
        ("__class__", 1, "'_' is found; a formula is made of names, numbers"),
        ("nir.__class__", 4, "'.' is found"),
        ("red.real", 4, "'.' is found"),
        ("().__class__.__bases__[0]", 2, "')' is found"),
        ("__import__('os')", 1, "'_' is found"),
        ("eval(red)", 1, "'eval' is no function; there are abs, sqrt, log, log10, exp, min, max, where"),
        ("min(red)", 1, "min is given 1 values; it takes 2 to 200"),
        ("where(red, nir)", 1, "where is given 2 values; it takes 3"),
        ("sqrt(red, nir)", 1, "sqrt is given 2 values; it takes 1"),
        ("red ** nir", 8, "'nir' is found; a number would do"),
        ("red ** 1e9", 8, "the exponent '1e9' is found; one from -16 to 16 would do"),
        ("red ** -17", 8, "the exponent '-17' is found"),
        ("9 ** 9 ** 9 * red", 8, "'**' is found"),
        ("red * " + "9" * 1000, 7, "is too large"),
        ("1e309 * red", 1, "'1e309' is too large"),
        ("red + 1 / 0", 7, "'1 / 0' has no finite value"),
        ("red + 10 ** 16 ** 2", 16, "'**' is found"),
        ("rödd", 2, "'ö' is found"),
        ("ｒｅｄ", 1, "is found"),
        ("red\x00", 4, "'\\x00' is found"),
        ("red \N{MINUS SIGN} nir", 5, "is found"),
        ("lambda: 0", 7, "':' is found"),
        ("[red]", 1, "'[' is found"),
        ("'red'", 1, "is found"),
        ("red; nir", 4, "';' is found"),
        ("1_000 * red", 2, "'_' is found"),
        ("0x10 * red", 2, "'x10' is found"),
        ("3j * red", 2, "'j' is found"),
        ("red if nir else 0", 5, "'if' is found"),
        ("red // nir", 6, "'/' is found"),
        ("red + ²", 7, "is found"),
        ("\ud800", 1, "is found"),
        ("(" * 65 + "a" + ")" * 65, 66, "at most 64 levels"),
        ("-" * 80 + "a", 17, "at most 64 levels"),
        ("abs(" * 80 + "a" + ")" * 80, 65, "at most 64 levels"),
        ("+".join("a" * 102), 1, "at most 200 bands, numbers and operators"),
    ],
)
def test_a_wrong_formula_is_told_where_it_is_wrong_and_what_would_do(text, position, message):
    with pytest.raises(BadRequest) as caught:
        formula.parse(text)
    assert f"at character {position}, " in str(caught.value)
    assert message in str(caught.value)


def test_a_formula_without_a_band_is_refused():
    with pytest.raises(BadRequest, match=r"names no band; such as nir / red"):
        formula.parse("1 + 1")


def test_a_row_of_equals_is_not_deep():
    text = " + ".join(["a"] * 100)
    assert formula.parse(text).evaluate({"a": np.ones(1)}).tolist() == [100]


@pytest.mark.parametrize("start", ["(", "-", "abs(", "a+(", "where(a,", "a**(", "1/", "a<"])
@pytest.mark.parametrize("length", [2048, 2049, 100_000, 5_000_000])
def test_no_text_ends_otherwise_than_in_words(start, length):
    text = (start * (length // len(start) + 1))[:length]
    with pytest.raises(BadRequest) as caught:
        formula.parse(text)
    assert len(str(caught.value)) < 400


@settings(deadline=None, max_examples=500)
@given(st.one_of(st.text(max_size=300), st.text("ab01.9eE+-*/()<>=!, _wher\n", max_size=300)))
def test_any_text_is_a_formula_or_a_bad_request(text):
    try:
        parsed = formula.parse(text)
    except BadRequest as error:
        assert len(str(error)) < 400
        return
    found = parsed.evaluate({name: np.array([0.0, 0.5, np.nan, -1.0]) for name in parsed.names})
    assert found.shape == (4,) and math.isnan(found[2]) and not np.isinf(found).any()


def test_every_function_has_an_operation():
    assert formula.FUNCTIONS.keys() <= arithmetic.OPERATIONS.keys()


def test_the_reference_tells_every_function_and_limit():
    page = (Path(__file__).resolve().parents[2] / "docs/reference/formulas.md").read_text()
    assert all(f"`{name}(" in page for name in formula.FUNCTIONS)
    for limit in (formula.MAX_LENGTH, formula.MAX_NODES, formula.MAX_DEPTH, formula.MAX_EXPONENT):
        assert str(limit) in page
