"""What an answer costs (contract, section 4.5)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatledger.domain.configuration import Prices
from chatledger.domain.errors import InvalidInputError
from chatledger.domain.prices import priced, validate_prices
from chatledger.domain.values import Usage

USAGE = Usage(prompt_tokens=1_033, completion_tokens=128, total_tokens=1_161, latency=0.7)
PER_MILLION = {"prompt_price_unit": "0.000001", "completion_price_unit": "0.000001"}

COSTS = [
    ("nothing is known of prices", Prices(), ("0", "0", "0")),
    (
        "per thousand",
        Prices(prompt_unit_price="0.001", completion_unit_price="0.002"),
        ("0.001033", "0.000256", "0.001289"),
    ),
    (
        "per million",
        Prices(prompt_unit_price="2.50", completion_unit_price="10", **PER_MILLION),
        ("0.0025825", "0.00128", "0.0038625"),
    ),
    (
        "each token",
        Prices(prompt_unit_price="1", prompt_price_unit="1", completion_unit_price="5", completion_price_unit="10"),
        ("1033", "6400", "7433"),
    ),
    (
        "with a digit that no float has",
        Prices(prompt_unit_price="0.100000000000000001", prompt_price_unit="1"),
        ("103.300000000000001033", "0", "103.300000000000001033"),
    ),
]


@pytest.mark.parametrize(("prices", "costs"), [pytest.param(*row, id=name) for name, *row in COSTS])
def test_what_tokens_cost(prices, costs) -> None:
    usage = priced(USAGE, prices)
    assert (usage.prompt_price, usage.completion_price, usage.total_price) == costs
    assert (usage.prompt_unit_price, usage.completion_unit_price) == (
        prices.prompt_unit_price,
        prices.completion_unit_price,
    )
    assert (usage.prompt_price_unit, usage.completion_price_unit) == (
        prices.prompt_price_unit,
        prices.completion_price_unit,
    )
    assert (usage.total_tokens, usage.latency, usage.currency) == (1_161, 0.7, "USD")


def test_the_currency_is_told() -> None:
    assert priced(USAGE, Prices(currency="EUR")).currency == "EUR"


amounts = st.tuples(st.integers(0, 10**12 - 1), st.integers(0, 10**18 - 1)).map(
    lambda parts: f"{parts[0]}.{parts[1]:018}"
)


@settings(max_examples=100, deadline=None)
@given(tokens=st.integers(0, 10**12), price=amounts, unit=amounts)
def test_a_cost_is_exact_and_plain(tokens, price, unit) -> None:
    prices = Prices(prompt_unit_price=price, prompt_price_unit=unit)
    validate_prices(prices)
    cost = priced(Usage(prompt_tokens=tokens), prices).prompt_price
    whole, _, fraction = cost.partition(".")
    assert int(whole + fraction.ljust(36, "0")) == tokens * in_parts(price) * in_parts(unit)
    assert not fraction.endswith("0")


def in_parts(amount: str) -> int:
    return int(amount.replace(".", ""))


@pytest.mark.parametrize(
    "field", ["prompt_unit_price", "prompt_price_unit", "completion_unit_price", "completion_price_unit"]
)
@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1e3", "NaN", ".5", "1.", "1,5", "٣", "1" * 13, "0." + "1" * 19, "1\n"]
)
def test_what_is_no_price_is_refused_by_name(field, text) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        validate_prices(Prices(**{field: text}))
    assert refusal.value.field == f"prices.{field}"
    assert f"prices.{field} must be a decimal" in str(refusal.value)


@pytest.mark.parametrize("code", ["", "usd", "US", "EURO", "U$D", "ÄÖÜ"])
def test_what_is_no_currency_is_refused_by_name(code) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        validate_prices(Prices(currency=code))
    assert refusal.value.field == "prices.currency"
