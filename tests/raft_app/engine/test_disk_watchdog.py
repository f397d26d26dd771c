"""The watchdog in a loop whose timers the test fires."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from raft_app.engine.disk import LOOKS, DiskSpace, Watchdog


class StoppedLoop:
    """Keeps the one timer; the test fires it."""

    def __init__(self) -> None:
        self.callback = None
        self.delay_s = 0.0

    def call_later(self, delay_s, callback):
        self.callback, self.delay_s = callback, delay_s
        return self

    def cancel(self) -> None:
        self.callback = None

    def fire(self) -> None:
        callback, self.callback = self.callback, None
        callback()


class DirectExecutor:
    """Runs what it is given at once."""

    def submit(self, function):
        function()
        return Future()


def make(missed_max: int = 3):
    loop, told = StoppedLoop(), []
    watchdog = Watchdog(loop, interval_ms=50, missed_max=missed_max, on_silence=told.append)
    watchdog.start()
    return loop, watchdog, told


def test_ticks_keep_it_quiet():
    loop, watchdog, told = make()
    for _ in range(20):
        loop.fire()
        loop.fire()
        watchdog.ticked()
    assert told == []


def test_it_wakes_the_loop_a_few_times_only_in_the_time_that_ticks_may_stay_away():
    loop, watchdog, told = make(missed_max=20)
    assert loop.delay_s == 20 * 0.050 / LOOKS
    watchdog.ticked()
    loop.fire()
    for missed in (5, 10, 15, 20):
        loop.fire()
        assert watchdog.intervals_without_tick == missed
    assert told == []
    loop.fire()
    assert len(told) == 1


def test_silence_is_told_once():
    loop, _, told = make()
    for _ in range(4):
        loop.fire()
    assert len(told) == 1
    assert loop.callback is None


def test_paused_process_is_not_silence():
    # While the process stands still no timer fires, so nothing is counted.
    loop, watchdog, told = make()
    loop.fire()
    watchdog.ticked()
    loop.fire()
    assert told == []
    assert watchdog.intervals_without_tick == 0
    loop.fire()
    assert watchdog.intervals_without_tick == 1


def test_stopped_watchdog_fires_no_more():
    loop, watchdog, _ = make()
    watchdog.stop()
    assert loop.callback is None


def test_free_space_is_looked_at_now_and_then():
    loop, watchdog, _ = make(missed_max=1_000)
    free = [100]
    disk = watchdog.watch_disk(DirectExecutor(), lambda: free[0], 50)
    for _ in range(LOOKS):
        loop.fire()
    assert not disk.full
    assert disk.free_bytes == 100
    free[0] = 49
    for _ in range(LOOKS):
        loop.fire()
    assert disk.full


def test_free_space_is_looked_at_before_the_first_write_is_taken():
    watchdog = Watchdog(StoppedLoop(), interval_ms=50, missed_max=3, on_silence=[].append)
    disk = watchdog.watch_disk(DirectExecutor(), lambda: 49, 50)
    watchdog.start()
    assert disk.full


def test_a_look_that_fails_keeps_what_was_last_seen_and_says_so_once(caplog):
    found = [10, OSError("Input/output error"), OSError("Input/output error"), 30]

    def free_bytes() -> int:
        if isinstance(found[0], OSError):
            raise found.pop(0)
        return found.pop(0)

    loop = StoppedLoop()
    watchdog = Watchdog(loop, interval_ms=50, missed_max=1_000, on_silence=[].append)
    with ThreadPoolExecutor(1) as executor:
        disk = watchdog.watch_disk(executor, free_bytes, 20)
        watchdog.start()
        for _ in range(2 * LOOKS):
            loop.fire()
    assert (disk.full, disk.free_bytes) == (True, 10)
    [failed] = [record for record in caplog.records if record.exc_info]
    assert "as last seen" in failed.getMessage()
    disk.look()
    assert (disk.full, disk.free_bytes) == (False, 30)


def test_disk_is_full_below_its_reserve_and_has_space_again():
    free = [10]
    disk = DiskSpace(lambda: free[0], 20)
    disk.look()
    assert disk.full
    free[0] = 20
    disk.look()
    assert not disk.full
