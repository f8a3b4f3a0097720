"""Whether a text may hold a secret at all: the keywords of all rules, without the rules.

A launcher that says nothing of secrets need not load the table: this is looked at first, and asks for little.
"""

from __future__ import annotations

from typing import Final

KEYWORDS: Final = (
    *b"""
    $2a$ $2b$ $2y$ $5$ $6$ $argon2 $y$ -----begin -key -us .atlasv1. /api/webhooks/ /webhookb2/ 1//0 :// :aa _auth _cookie
    _key abia absk acca access-development- access-production- access-sandbox- accesskey accountkey accountkey=
    age-secret-key-1 aiza akcp akia akid api_org_ apikey asia atatt3 atbb atctt3xff auth= authorization bkua_ ccipat_
    cciprj_ cfpat- clojars_ code= cookie credential csk- dapi dckr_ doo_v1_ dop_v1_ dor_v1_ dp.ct. dp.pt. dp.sa. dp.st. dt0
    encryptionkey eyj figd_ fm2_ fo1_ gho_ ghp_ ghr_ ghs_ ghu_ github_pat_ glagent- glc_ glcbt- gldt- glft- glpat- glptt-
    glrt- glsa_ glsoat- gocspx- gsk_ hf_ hooks.slack.com/ hrku- hvb. hvr. hvs. key- key= lin_api_ lin_oauth_ lsv2_ ltai nfp_
    npm_ nrak- nrii- nrjs- ntn_ nvapi- ops_eyj oy2 passcode passphrase passw pat-eu pat-na pcsk_ phx_ pmak- pnb_ pnu_ pplx-
    private-lines: privatekey pscale_ pul- pwd pypi- q~ r8_ rk_live_ rk_test_ rubygems_ sb_secret_ sbp_ scw secret secret_
    sg. sgp_ sharedaccesskey= shpat_ shpca_ shppa_ shpss_ sig= signature= signingkey sk- sk-admin- sk-ant- sk-or-v1-
    sk-proj- sk-svcacct- sk_ sk_live_ sk_test_ sl. sntry sq0 sqa_ sqp_ squ_ syt_ token tskey- tvly- v1.0- whsec_ xai- xapp-
    xox ya29.
    """.split(),
    *(b" --proxy-user ", b" --user ", b" --user=", b" -u ", b"api key", b"basic ", b"bearer\t", b"bearer ", b"machine "),
)
"""All that the rules have, each in lower case."""

_NAMES: Final = (b"key", b"auth", b"cookie", b'"env', b'"-')
"""Of JSON data: what is in names that tell, and before an environment and arguments, beside the keywords."""

_CAPITALS: Final = (b"PAT", b"PIN", b"SAS", b"OTP", b"JWT", b"PW", b"PASS", b"PRIVATE", b"SIGNATURE", b"BEARER", b"CREDS")
"""What is in the names of variables that tell, beside these."""


def may_hold(text: bytes) -> bool:
    """Whether a text holds a keyword; one that does not is left alone by every rule."""
    text = text.lower()
    return any(keyword in text for keyword in KEYWORDS)


def may_hold_data(line: bytes) -> bool:
    """The same of JSON data in one line of ASCII, of which names are redacted as well."""
    return any(word in line for word in _CAPITALS) or any(word in (lower := line.lower()) for word in _NAMES) or may_hold(lower)
