"""What an answer costs: exact decimals from the tokens on, never rounded."""

import re
from decimal import Decimal, localcontext

import msgspec

from chatledger.domain.configuration import Prices
from chatledger.domain.errors import InvalidInputError
from chatledger.domain.values import Usage

_PRICE = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,18})?")
_CURRENCY = re.compile(r"[A-Z]{3}")

_DIGITS = 100
"""More than a product of tokens, price and unit can have: each is exact."""

_PRICES = ("prompt_unit_price", "prompt_price_unit", "completion_unit_price", "completion_price_unit")


def validate_prices(prices: Prices) -> None:
    """Refuse what is no price.

    Raises:
        InvalidInputError: a price is no plain decimal, or the currency is no code of three capitals
            (ISO 4217).
    """
    for name in _PRICES:
        if not _PRICE.fullmatch(getattr(prices, name)):
            raise InvalidInputError(
                f"prices.{name}",
                f"prices.{name} must be a decimal like 0.0025, with at most 12 digits before the point and 18 after it",
            )
    if not _CURRENCY.fullmatch(prices.currency):
        raise InvalidInputError("prices.currency", "prices.currency must be three capital letters (ISO 4217)")


def priced(usage: Usage, prices: Prices) -> Usage:
    """The usage with what its tokens cost, each a number of tokens by its unit by the price of the unit."""
    with localcontext(prec=_DIGITS):
        prompt = _cost(usage.prompt_tokens, prices.prompt_unit_price, prices.prompt_price_unit)
        completion = _cost(usage.completion_tokens, prices.completion_unit_price, prices.completion_price_unit)
        total = prompt + completion
    return msgspec.structs.replace(
        usage,
        prompt_unit_price=prices.prompt_unit_price,
        prompt_price_unit=prices.prompt_price_unit,
        prompt_price=_plain(prompt),
        completion_unit_price=prices.completion_unit_price,
        completion_price_unit=prices.completion_price_unit,
        completion_price=_plain(completion),
        total_price=_plain(total),
        currency=prices.currency,
    )


def _cost(tokens: int, price: str, unit: str) -> Decimal:
    return tokens * Decimal(unit) * Decimal(price)


def _plain(amount: Decimal) -> str:
    """A decimal without an exponent, and without noughts at the end of its fraction."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
