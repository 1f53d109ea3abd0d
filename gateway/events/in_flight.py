"""The predictions that a gateway has in flight, with one entry each."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from gateway.events.subscriptions import Subscriber
from schemas.prediction import Prediction

MAX_RECORDED: Final = 20_000
"""Predictions of which it is remembered that their outcome is in the record."""
MAX_WATCHED: Final = 100_000
"""Predictions watched for webhooks, in case the final events of some never arrive."""

PROGRESS_EVENTS: Final = {"output": "output", "log": "logs"}
"""The webhook event that each kind of progress is sent as."""
DEFAULT_WEBHOOK_EVENTS: Final = ("output", "completed")
NO_EVENTS: Final = frozenset[str]()
NOBODY: Final = list[Subscriber]()  # never changed


class PublishedJob(NamedTuple):
    """A published job that is not noted in the record yet."""

    sequence: int
    stream: datetime | None
    """When the stream that holds it was created."""
    at: float
    """When it was published, by the clock of the event loop."""


class _Entry:
    """What a gateway knows of one prediction in flight. It is dropped once nobody uses any of it."""

    # Defaults of the class, as to set each in every entry would cost more than all the rest.
    uses = 0
    """How many of the following are set, with one use per subscriber."""
    subscribers: list[Subscriber] = NOBODY
    commit: asyncio.Future[datetime] | None = None
    is_publishing = False
    job: PublishedJob | None = None
    """Follows `is_publishing`, and takes over its use."""
    outcome: Prediction | None = None
    recording: asyncio.Task[bool] | None = None
    progress_events = NO_EVENTS


class InFlight:
    """The one owner of what a gateway has in flight: an entry per prediction, shared by all who deal with it.

    The submitter registers a prediction and its job, and the live events report each event. Streams and waits
    subscribe. The recorder keeps an outcome here until it is written; the reconciler and the progress webhooks ask for
    what is left to do. It knows neither broker nor database, and starts no task.
    """

    def __init__(self, tag: str) -> None:
        self.tag = tag
        """The beginning of the ids of this gateway's predictions."""
        self.is_closing = False
        """Whether the gateway is about to stop."""
        self.has_progress = asyncio.Event()
        """Set when there is something for `take_progress`."""
        self._entries: defaultdict[str, _Entry] = defaultdict(_Entry)
        # Entries that are looked through as a whole, or limited in number; and what outlives its entry.
        self._unnoted: dict[str, _Entry] = {}
        self._watched: OrderedDict[str, _Entry] = OrderedDict()
        self._progress: dict[str, str] = {}
        self._recorded: OrderedDict[str, None] = OrderedDict()

    # Submission

    def register(self, p: Prediction, commit: asyncio.Future[datetime]) -> None:
        """Register a prediction whose row is being committed, before its first event can come."""
        entry = self._entries[p.id]
        entry.commit = commit
        entry.uses += 1
        commit.add_done_callback(partial(self._end_commit, p.id))
        if p.webhook is not None:
            self._watch(p, entry)

    def begin_publishing(self, id: str) -> None:
        """Note that the job is about to be published: a quick run ends before the broker's answer arrives."""
        entry = self._entries[id]
        entry.is_publishing = True
        entry.uses += 1

    def end_publishing(self, id: str, sequence: int | None, stream: datetime | None) -> None:
        """Note where the job is, for the reconciler, unless the prediction has ended. None: it was not published."""
        entry = self._entries.get(id)
        if entry is None or not entry.is_publishing:
            return
        entry.is_publishing = False
        if sequence is None:
            self._release(id, entry)
        else:
            entry.job = PublishedJob(sequence, stream, asyncio.get_running_loop().time())
            self._unnoted[id] = entry

    # Events and subscribers

    def note_event(self, id: str, kind: str) -> Sequence[Subscriber]:
        """Note the arrival of an event, and return the subscribers that it is for."""
        entry = self._entries.get(id)
        if entry is None:
            return ()
        if entry.progress_events:
            self._note_progress(id, kind, entry)
        return entry.subscribers

    def note_final(self, id: str) -> None:
        """Forget where the job is: its final event has come."""
        if (entry := self._entries.get(id)) is None:
            return
        if entry.is_publishing:
            entry.is_publishing = False
            self._release(id, entry)
        elif entry.job is not None:
            self._drop_job(id, entry)

    def add_subscriber(self, id: str) -> Subscriber:
        """Add a subscriber to a prediction, or to an id that no prediction has."""
        subscriber = Subscriber()
        if self.is_closing:
            subscriber.close()
        entry = self._entries[id]
        if entry.subscribers:
            entry.subscribers.append(subscriber)
        else:
            entry.subscribers = [subscriber]
        entry.uses += 1
        return subscriber

    def remove_subscriber(self, id: str, subscriber: Subscriber) -> bool:
        """Remove a subscriber. Returns whether it was the last one."""
        entry = self._entries[id]
        entry.subscribers.remove(subscriber)
        self._release(id, entry)
        return not entry.subscribers

    def note_gap(self, id: str | None = None) -> None:
        """Have the subscribers of a prediction, or all of them, read again what they follow."""
        for subscriber in self._subscribers(id):
            subscriber.note_gap()

    def close(self) -> None:
        """End the wait of every subscriber, now and from now on."""
        self.is_closing = True
        for subscriber in self._subscribers():
            subscriber.close()

    # Recording

    def commit(self, id: str) -> asyncio.Future[datetime] | None:
        """Return the commit of the prediction's row while it is under way."""
        return entry.commit if (entry := self._entries.get(id)) is not None else None

    def outcome(self, id: str) -> Prediction | None:
        """Return an outcome that somebody has seen and that is not in the record yet."""
        return entry.outcome if (entry := self._entries.get(id)) is not None else None

    def keep_outcome(self, p: Prediction) -> bool:
        """Keep an outcome until it is written. Returns False if one is kept or recorded already."""
        if p.id in self._recorded:
            return False
        entry = self._entries[p.id]
        if entry.outcome is not None:
            return False
        entry.outcome = p
        entry.uses += 1
        return True

    def drop_outcome(self, id: str) -> None:
        """Drop an outcome that was written, or that the record refused."""
        entry = self._entries[id]
        entry.outcome = None
        self._release(id, entry)

    def recording(self, id: str) -> asyncio.Task[bool] | None:
        """Return the task that records the prediction's final event just now."""
        return entry.recording if (entry := self._entries.get(id)) is not None else None

    def start_recording(self, id: str, task: asyncio.Task[bool]) -> None:
        """Note the task that records the prediction's final event."""
        entry = self._entries[id]
        entry.recording = task
        entry.uses += 1

    def end_recording(self, id: str) -> None:
        """Forget the task that recorded the prediction's final event."""
        entry = self._entries[id]
        entry.recording = None
        self._release(id, entry)

    def is_recorded(self, id: str) -> bool:
        """Return whether this gateway recorded the outcome lately."""
        return id in self._recorded

    def note_recorded(self, id: str) -> None:
        """Remember that the outcome is in the record."""
        self._recorded[id] = None
        if len(self._recorded) > MAX_RECORDED:
            self._recorded.popitem(last=False)

    # Reconciliation

    @property
    def has_unnoted_jobs(self) -> bool:
        """Whether the record does not know yet where the jobs of some predictions are."""
        return bool(self._unnoted)

    def unnoted_jobs(self, before: float) -> list[tuple[str, int, datetime]]:
        """List the jobs that were published before a time of the event loop: id, sequence number, stream's creation."""
        return [
            (id, entry.job.sequence, entry.job.stream)
            for id, entry in self._unnoted.items()
            if entry.job is not None and entry.job.at < before and entry.job.stream is not None
        ]

    def unnoted_job(self, id: str) -> PublishedJob | None:
        """Return where the prediction's job is, if the record does not know it yet."""
        return entry.job if (entry := self._unnoted.get(id)) is not None else None

    def forget_job(self, id: str) -> None:
        """Forget where the job is: the record knows it now."""
        if (entry := self._unnoted.get(id)) is not None:
            self._drop_job(id, entry)

    # Progress for webhooks

    def take_progress(self) -> dict[str, str]:
        """Take the predictions with progress to report, each with the webhook event that reports it."""
        self.has_progress.clear()
        progress, self._progress = self._progress, {}
        return progress

    def return_progress(self, progress: Mapping[str, str]) -> None:
        """Take back progress that could not be reported."""
        self._progress = {**progress, **self._progress}
        self.has_progress.set()

    def add_progress(self, id: str, event: str) -> None:
        """Have progress reported, with all that comes until then."""
        self._progress.setdefault(id, event)
        self.has_progress.set()

    def end_progress(self, id: str) -> None:
        """Report no more progress of a prediction: it has ended."""
        self._progress.pop(id, None)
        if (entry := self._watched.pop(id, None)) is not None:
            entry.progress_events = NO_EVENTS
            self._release(id, entry)

    # Entries

    def _release(self, id: str, entry: _Entry) -> None:
        entry.uses -= 1
        if not entry.uses:
            del self._entries[id]

    def _subscribers(self, id: str | None = None) -> list[Subscriber]:
        entries = self._entries.values() if id is None else filter(None, [self._entries.get(id)])
        return [subscriber for entry in entries for subscriber in entry.subscribers]

    def _end_commit(self, id: str, _: asyncio.Future[datetime]) -> None:
        entry = self._entries[id]
        entry.commit = None
        self._release(id, entry)

    def _drop_job(self, id: str, entry: _Entry) -> None:
        entry.job = None
        del self._unnoted[id]
        self._release(id, entry)

    def _watch(self, p: Prediction, entry: _Entry) -> None:
        events = frozenset(p.webhook_events or DEFAULT_WEBHOOK_EVENTS) & {*PROGRESS_EVENTS.values()}
        if not events:
            return
        entry.progress_events = events
        entry.uses += 1
        self._watched[p.id] = entry
        if len(self._watched) > MAX_WATCHED:
            id, oldest = self._watched.popitem(last=False)
            oldest.progress_events = NO_EVENTS
            self._release(id, oldest)

    def _note_progress(self, id: str, kind: str, entry: _Entry) -> None:
        if kind == "final":
            self.end_progress(id)
        elif (event := PROGRESS_EVENTS.get(kind, "")) in entry.progress_events:
            self.add_progress(id, event)
