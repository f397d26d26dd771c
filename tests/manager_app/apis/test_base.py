from __future__ import annotations


async def test_a_primary_does_not_say_how_old_its_view_is(any_site):
    for target in ("/topics", "/healthz"):
        assert "x-metadata-age-ms" not in (await any_site.send("GET", target)).headers


async def test_failures_of_a_read_only_manager_say_it_too(any_site):
    await any_site.restart_manager(read_only=True)
    for method, target in (("GET", "/topics/nowhere"), ("POST", "/topics"), ("GET", "/size")):
        answer = await any_site.send(method, target)
        assert answer.status >= 400
        assert int(answer.headers["x-metadata-age-ms"]) >= 0
