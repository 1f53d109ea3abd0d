"""The pages of the site, rendered from their templates."""

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
    """The latest version; None if the model has none yet."""
    state: str
    """ready, cold or none; else the phase of its start."""

    @property
    def link(self) -> str:
        """The query that opens the model's page."""
        return "?" + urlencode({"model": f"{self.owner}/{self.name}"}, safe="/")

    @property
    def runs(self) -> str:
        """The run count of the model, in words."""
        return "1 run" if self.run_count == 1 else f"{self.run_count:,} runs"


class SelectedModel(Struct, frozen=True, kw_only=True):
    """The model of a page, and the form to run it."""

    card: Card
    form: Form | None
    prediction: str | None
    """The id of the prediction that the page shows at first."""


def render_signin(*, refused: bool, model: str) -> str:
    """Render the form that asks for a token."""
    return _environment.get_template("signin.html").render(refused=refused, model=model)


def render_home(account: Account, base: str, cards: Sequence[Card], more: str | None, missing: str | None) -> str:
    """Render the catalogue.

    `more` leads to the rest of it; `missing` is a model that was asked for and does not exist.
    """
    return _environment.get_template("home.html").render(
        account=account, base=base, cards=cards, more=more, missing=missing
    )


def render_model(account: Account, base: str, chosen: SelectedModel) -> str:
    """Render the page of a model."""
    return _environment.get_template("model.html").render(account=account, base=base, chosen=chosen, card=chosen.card)


def render_reload() -> str:
    """Render a page that loads itself again, so that the request comes from this site."""
    return _environment.get_template("again.html").render()
