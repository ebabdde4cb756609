"""The judge as a process of its own, for tests: started, killed, started again on the same port, and given orders."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import httpx
import msgspec

from tests.stripe_judge.behaviour import Behaviour, Webhooks
from tests.stripe_judge.control import CallSeen, LedgerLine
from tests.stripe_judge.faults import Fault, FaultOrder

API_KEY: Final = "sk_test_judge"
STOP_SECONDS: Final = 15
ROOT: Final = Path(__file__).resolve().parent.parent.parent
_LISTENS: Final = re.compile(r"listens on (?P<url>http://127\.0\.0\.1:(?P<port>[0-9]+))")

T = TypeVar("T")


class JudgeProcess:
    """A judge at ``url`` that keeps its memory in ``data``. ``url`` stays when it is started again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.url = ""
        self._port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.stripe_judge", "--port", str(self._port), "--data", str(self.data)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._process = process
        assert process.stdout is not None
        found = _LISTENS.search(process.stdout.readline())
        process.stdout.close()
        if found is None:
            self.kill()
            raise AssertionError("the judge did not start")
        self.url, self._port = found["url"], int(found["port"])

    def kill(self) -> None:
        """Ends it at once, with nothing tidied."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(STOP_SECONDS)
            self._process = None

    # --- orders ---------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, kind: type[T], order: object = None) -> T:
        """One request to ``/_judge/…``; AssertionError if it is refused."""
        body = b"" if order is None else msgspec.json.encode(order)
        answer = httpx.request(method, f"{self.url}/_judge/{path}", content=body, timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=kind)

    def ledger(self) -> list[LedgerLine]:
        return self.ask("GET", "ledger", list[LedgerLine])

    def calls(self) -> list[CallSeen]:
        return self.ask("GET", "calls", list[CallSeen])

    def order_fault(self, endpoint: str, kind: Fault, **further: object) -> None:
        """As ``FaultOrder`` says."""
        self.ask("POST", "faults", list[FaultOrder], {"endpoint": endpoint, "kind": kind, **further})

    def forget_faults(self) -> None:
        self.ask("DELETE", "faults", list[FaultOrder])

    def behave(self, **changes: object) -> Behaviour:
        """Changes what ``Behaviour`` names."""
        return self.ask("POST", "settings", Behaviour, changes)

    def send_webhooks(self, **changes: object) -> Webhooks:
        """Changes what ``Webhooks`` names."""
        return self.ask("POST", "webhook", Webhooks, changes)

    def deliver(self, *events: str, order: str = "made") -> list[str]:
        """Sends these events now, or all."""
        return self.ask("POST", "webhook/deliver", list[str], {"events": events or None, "order": order})

    def open_dispute(self, payment_intent: str, **further: object) -> str:
        """The dispute's id."""
        shown = self.ask("POST", "disputes", dict[str, object], {"payment_intent": payment_intent, **further})
        return str(shown["id"])

    def close_dispute(self, dispute: str, *, won: bool) -> None:
        self.ask("POST", "disputes/close", dict[str, object], {"dispute": dispute, "won": won})

    def settle_refund(self, refund: str, status: str) -> None:
        """``succeeded`` or ``failed``."""
        self.ask("POST", "refunds", dict[str, object], {"refund": refund, "status": status})

    def expire(self, payment_intent: str) -> None:
        """Ends an authorisation as its time does."""
        self.ask("POST", "expire", dict[str, object], {"payment_intent": payment_intent})

    def make_token(self, card: str = "visa") -> str:
        """A token for one use."""
        return self.ask("POST", "tokens", dict[str, str], {"card": card})["id"]

    def finish_challenge(self, url: str, *, passed: bool = True) -> str | None:
        """Posts the bank's form at ``redirect_to_url.url``; answers where it sends the buyer."""
        answer = httpx.post(
            url, data={"outcome": "complete" if passed else "fail"}, timeout=30, trust_env=False
        )
        assert answer.status_code in {200, 303}, answer.text
        location: str | None = answer.headers.get("location")
        return location


@contextmanager
def running_judge(data: Path) -> Iterator[JudgeProcess]:
    """A judge, until the block ends; ``data`` is its file, which may be there from before."""
    judge = JudgeProcess(data)
    judge.start()
    try:
        yield judge
    finally:
        judge.kill()
