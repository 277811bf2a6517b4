"""Images on a real Docker Engine: each proof has one that fails it, a good one passes all, and so does our own."""

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
def test_each_proof_has_an_image_that_fails_it(client, base, image, name, lines, fact):
    """A check that cannot fail proves nothing."""
    from tailrace.deploy.images import hardening

    bad = image(lines)
    proofs = {proof.name: proof for proof in hardening.prove(hardening.Image(client, bad, base, budget_mb=1))}
    assert not proofs[name].ok
    assert fact in proofs[name].fact


def test_a_health_check_that_asks_nothing_does_not_turn_red(client, base, image):
    """It is found out by hanging the program."""
    from tailrace.deploy.images import hardening

    always = image('HEALTHCHECK --interval=1s CMD ["true"]')
    proof = hardening.checked(hardening.Image(client, always, base), timeout_s=4)
    assert (proof.ok, proof.fact) == (False, "still healthy after 4 s")


def test_a_good_image_passes_every_proof(client, base, image):
    """All of them."""
    from tailrace.deploy.images import hardening

    assert [
        proof for proof in hardening.prove(hardening.Image(client, image(), base, budget_mb=1)) if not proof.ok
    ] == []


def test_our_own_image_passes_every_proof_and_is_built_once(client, base, source, tmp_path):
    """From the project's Dockerfile, without a network; the same source gives the same content."""
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
    proofs = hardening.prove(hardening.Image(client, first.build, base, needed))
    assert [proof for proof in proofs if not proof.ok] == []
    digest = hardening.content_digest(client, first.build)
    client.images.remove(first.build, force=True)
    anew = engine.build(Service(), source)
    assert not anew.facts["reused"]
    assert hardening.content_digest(client, anew.build) == digest
    engine.client.close()
