"""The pages of the site: what they show, written into their templates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Struct

from gateway.store.accounts import Account
from gateway.web.forms import Form

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"

_environment: Final = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Card(Struct, frozen=True, kw_only=True):
    """A model in the catalogue."""

    owner: str
    name: str
    description: str
    run_count: int
    version: str | None
    """The latest; None: there is nothing to run yet."""
    state: str
    """ready, cold, none; else the phase that it is in on its way."""

    @property
    def link(self) -> str:
        return "?" + urlencode({"model": f"{self.owner}/{self.name}"}, safe="/")

    @property
    def runs(self) -> str:
        return "1 run" if self.run_count == 1 else f"{self.run_count:,} runs"


class Chosen(Struct, frozen=True, kw_only=True):
    """The model that is to be run, and how it is asked."""

    card: Card
    form: Form | None
    prediction: str | None
    """The id of one that is shown from the start."""


def signin(*, refused: bool, model: str) -> str:
    return _environment.get_template("signin.html").render(refused=refused, model=model)


def home(account: Account, base: str, cards: Sequence[Card], more: str | None, missing: str | None) -> str:
    """`more` leads to the rest of the catalogue; `missing` is what was asked for and is not there."""
    return _environment.get_template("home.html").render(
        account=account, base=base, cards=cards, more=more, missing=missing
    )


def model(account: Account, base: str, chosen: Chosen) -> str:
    return _environment.get_template("model.html").render(account=account, base=base, chosen=chosen, card=chosen.card)


def again() -> str:
    """Comes back by itself, as a page of ours."""
    return _environment.get_template("again.html").render()
