"""The hot endpoints as one would otherwise write them: FastAPI on uvicorn over SQLite or PostgreSQL.

A yardstick for ``scripts/bench http`` and nothing else; it runs in an environment of its own (``.venv-bench``) and
imports nothing of the daemon. It is written as a competent user would: prepared statements, a pool, one transaction for
each reservation, pydantic models, no blocking call in the event loop but SQLite's reads.

What is the same as in the daemon: paths, bodies, answers, API key, JWT, device and rate limit, in that order; a
reservation is all or none, bounded by the purchase limit, and durable before its answer.

What is kinder to these: one process, so what has changed since a seat map was made is known in memory, and a map is
kept encoded and compressed until a seat of its event moves (then it is made anew at most four times a second; the
daemon promises the same). Counts of free seats are kept alike, so that no row is hot. API keys and events are read
once; SQLite's writer is a thread of its own, and no other process wants its lock. No idempotency keys, no live updates,
no audit, no metrics, no holds that expire on their own.

What costs them: a place in line is exact, so it is counted for each poll (over an index of those who wait), and how
many wait is one row of each room, which joins write one after the other. A reservation over PostgreSQL is six round
trips: begin, the place, the seats, the purchase limit, the reservation, commit.
"""
