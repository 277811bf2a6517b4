"""The base that images are made from."""

import re

import pytest

from tailrace.deploy.images import base_image


@pytest.mark.parametrize("path", ["Dockerfile", "runbook/example/service/Dockerfile"])
def test_the_default_base_is_pinned_by_digest_and_the_same_everywhere(root, path):
    """What is built by hand and what the runbook builds start from the same bytes."""
    (default,) = re.findall(r"^ARG BASE_IMAGE=(\S+)$", (root / path).read_text(), re.MULTILINE)
    assert default == base_image.OFFICIAL
    assert re.fullmatch(r"[a-z0-9.:-]+@sha256:[0-9a-f]{64}", default)
