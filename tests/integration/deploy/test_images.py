"""Checks of images on a real Docker Engine: each has an image that fails it; a good image and ours pass all."""

import subprocess

import pytest

from tailrace.profile import ResourceLimits, Service

pytestmark = [pytest.mark.docker, pytest.mark.deep]

KEY = "sk-" + "a" * 30
REVISION = "org.opencontainers.image.revision"


@pytest.mark.parametrize(
    ("name", "lines", "fact"),
    [
        ("runs as a numeric user other than root", "USER root", "user root"),
        ("no secret in its environment, labels or history", f"ENV A={KEY}", "OpenAI-style key"),
        ("no secret in its environment, labels or history", "ENV API_KEY=x", "variable API_KEY"),
        ("no secret in any layer", f"USER root\nRUN echo {KEY[:9]}${{x}}{KEY[9:]} > /k\nRUN rm /k", "key in k"),
        ("labelled with revision, version and creation time", f'LABEL {REVISION}=""', "missing: revision"),
        ("labelled with revision, version and creation time", f"LABEL {REVISION}=unknown", "missing: revision"),
        ("size within budget", "USER root\nRUN head -c 3000000 /dev/zero > /big", "3 MB above its base; 1 MB"),
        ("starts read-only, without capabilities or new privileges", 'CMD ["touch", "/x"]', "Read-only file system"),
        ("health check turns red when the program hangs", "HEALTHCHECK NONE", "no health check"),
    ],
)  # fmt: skip
def test_each_check_has_an_image_that_fails_it(client, base, image, name, lines, fact):
    """The check of this name fails, with the fact that decided it."""
    from tailrace.deploy.images import hardening

    bad = image(lines)
    checks = {check.name: check for check in hardening.checks(hardening.Image(client, bad, base, budget_mb=1))}
    assert checks[name].state == "FAIL"
    assert fact in checks[name].fact


def test_a_health_check_that_probes_nothing_does_not_turn_red(client, base, image):
    """It stays healthy while the program hangs, so the check of the image fails."""
    from tailrace.deploy.images import hardening

    always = image('HEALTHCHECK --interval=1s CMD ["true"]')
    check = hardening.health_check(hardening.Image(client, always, base), timeout_s=4)
    assert (check.state, check.fact) == ("FAIL", "still healthy after 4 s")


def test_a_good_image_passes_every_check(client, base, image):
    """None of the checks fails."""
    from tailrace.deploy.images import hardening

    checks = hardening.checks(hardening.Image(client, image(), base, budget_mb=1))
    assert [check for check in checks if check.state != "PASS"] == []


def test_our_own_image_passes_every_check_and_is_built_once(client, base, source, tmp_path):
    """It is built from the project's Dockerfile without a network; the same source gives the same content."""
    from tailrace.deploy.engines.docker.engine import DockerEngine
    from tailrace.deploy.images import hardening

    git = ["git", "-C", str(source), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for step in (["init", "-q"], ["add", "pyproject.toml"], ["commit", "-q", "-m", "a revision to be labelled with"]):
        subprocess.run([*git, *step], check=True)
    engine, lines = DockerEngine(tmp_path, ResourceLimits(), source), []
    first = engine.build(Service(), source, lines.append)
    again = engine.build(Service(), source)
    assert first.id == again.id
    assert again.facts["reused"]
    assert again.facts["seconds"] < 1
    needed = {"TAILRACE_PROVIDER_URL": "http://127.0.0.1:1/v1", "OPENAI_API_KEY": "none"}
    checks = hardening.checks(hardening.Image(client, first.build, base, needed))
    assert [check for check in checks if check.state != "PASS"] == []
    digest = hardening.content_digest(client, first.build)
    client.images.remove(first.build, force=True)
    anew = engine.build(Service(), source)
    assert not anew.facts["reused"]
    assert hardening.content_digest(client, anew.build) == digest
    engine.client.close()
