"""Bugs in what is done when the system fails, which the rung of system calls must find."""

from __future__ import annotations

from typing import Final

from tests.support.planting import Plant

_SETTLE_EARLY: Final = (
    "                self._busy = True\n"
    "                for job, outcome in self._commits._batches[0].outcomes:\n"
    "                    job.settle(outcome)\n"
    "                    if isinstance(job, _Waiting) and job.task is not None:\n"
    "                        trio.lowlevel.reschedule(job.task)\n"
    "                        job.task = None\n"
    "                while"
)

PLANTS: Final[dict[str, Plant]] = {
    "acknowledge before commit": Plant(
        file="storage/writer.py",
        right="                self._busy = True\n                while",
        wrong=_SETTLE_EARLY,
        told="without any fault",
        rung="system_calls",
        seconds=8,
    ),
    "an outcome in another commit than its effect": Plant(
        file="handlers/commit.py",
        right="        keep_outcome(tx, scope, request.digest, outcome_of(reply, request, tx.now_ms + retention_ms))\n"
        "        return Reply(\n"
        "            status=reply.status,\n"
        "            body=reply.body,\n"
        "            content_type=reply.content_type,\n"
        "            headers=reply.headers,\n"
        "            kept=True,\n"
        "        )\n",
        wrong="        return reply\n",
        told="was told to nobody",
        rung="system_calls",
        seconds=30,
    ),
    "a failed commit that goes on answering": Plant(
        file="storage/writer.py",
        right="            commits.fail(error)\n            settled = commits.abandon()\n",
        wrong="            settled = commits.end()\n",
        told="of ticketd.lmdb",
        rung="system_calls",
        seconds=8,
    ),
    "the writer has failed, and all else goes on": Plant(
        file="ticketd/tree.py",
        right="    except StorageError:\n        end.stop.set()\n",
        wrong="    except StorageError:\n        await trio.sleep_forever()\n",
        told="half dead",
        rung="system_calls",
        seconds=8,
    ),
    "a failure ends the daemon as a signal does": Plant(
        file="ticketd/tree.py",
        right="            await end.answered.wait()\n        raise\n",
        wrong="            await end.answered.wait()\n",
        told="ended with status 0",
        rung="system_calls",
        seconds=8,
    ),
}
