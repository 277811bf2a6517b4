"""Texts with a credential, by its kind."""

# Built here, so that no file of the project holds one.
EXAMPLES = {
    "OpenAI-style key": ["sk-" + "a" * 30, "sk-proj-" + "b1" * 20, "sk-ant-" + "c" * 40],
    "AWS access key": ["AKIA" + "A1" * 8],
    "GitHub token": ["ghp_" + "a" * 36, "github_pat_" + "a" * 50],
    "Google API key": ["AIza" + "b" * 35],
    "Slack token": ["xoxb-" + "1" * 12],
    "Hugging Face token": ["hf_" + "a" * 34],
    "JSON web token": [".".join(("eyJ" + "a" * 20, "eyJ" + "b" * 20, "c" * 20))],
    "private key": ["-----BEGIN " + "PRIVATE KEY-----", "-----BEGIN RSA " + "PRIVATE KEY-----"],
    "bearer header": ["Authorization: Bearer " + "a" * 24],
    "password in a URL": ["postgres://user:" + "pass" + "@db.internal/x", "redis://:" + "pass" + "@cache.internal/0"],
}
