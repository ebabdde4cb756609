"""How fast the calls of an on-sale are answered, beside the limit of the stack and what one would write otherwise.

    scripts/bench http                                  all contenders, three runs, tables in Markdown
    scripts/bench http --seconds 2 --runs 1             a quick look
    scripts/bench http --only limit ticketd             these alone
    scripts/bench http --profile reserve                where the daemon's CPU time goes under that load (py-spy)
    scripts/bench http --idle                           what 5,000 idle connections cost in memory

One contender at a time runs on one core, the load generator (wrk, one thread) on another, over loopback:

- ``limit``: bare Trio sockets and httptools that answer a fixed text. No endpoint of ours can be faster.
- ``ticketd``: the daemon as it is served.
- ``hypercorn``: the daemon with ``server.front = "hypercorn"``.
- ``stock``: the daemon's Quart-Trio app on Hypercorn's own ``hypercorn.trio.serve``.
- ``sqlite``, ``postgres``: the same endpoints in FastAPI on uvicorn (``scripts/benchmarks/peers``), over SQLite (WAL,
  synchronous=FULL) and over a private PostgreSQL, all of whose processes share the contender's core.

Every contender begins each run on a fresh copy of one scene (``scene``): the same events, seats and buyers. Rate limits
are counted everywhere, but set so high that nobody meets them; access logs are off everywhere. Runs are interleaved
(each contender once, then each again), and the tables show medians. A measurement with a single unwanted answer, socket
error or time-out, or whose reservations have not taken their seats, is void: it is reported as such, and the command
ends with status 1.

CPU time is the kernel's figure for the contender's processes (user and system, the database's included), so it is less
disturbed by neighbours than requests/s. What was in flight when a measurement ended counts in it, and not among the
answers: one request for each connection at most, which tells where answers are slow.

Every reservation is synced to the disk by every contender.

| file | what lives there |
|---|---|
| ``cores`` | which core does what; processes, their CPU time and memory |
| ``wrk``, ``replay.lua`` | the load generator: it replays prepared requests, and counts answers |
| ``scene``, ``calls`` | events, buyers and tokens; the requests that are made of them |
| ``limit``, ``stock`` | the two small servers among the contenders |
| ``contenders``, ``peer_store``, ``postgres`` | how each contender is prepared, started and stopped |
| ``measure``, ``tables`` | runs and medians; ratios, aims and Markdown |
| ``idle``, ``profile`` | memory under idle connections; py-spy |
"""
