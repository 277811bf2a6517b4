"""What a wheelhouse is filled with: the locks, whatever the patch version of Python on either side."""

from tailrace.deploy.images.wheelhouse import for_any_patch

LOCK = """\
async-timeout==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:1
jsfetch==1.0 ; python_full_version >= '3.12' and sys_platform == 'emscripten' \\
    --hash=sha256:2
"""


def test_a_condition_on_the_patch_version_is_left_to_the_image():
    """pip would judge it by the wrong Python. Negative control: another condition stays."""
    lines = for_any_patch(LOCK).splitlines()
    assert lines[0] == "async-timeout==5.0.1 \\"
    assert lines[2] == LOCK.splitlines()[2]
