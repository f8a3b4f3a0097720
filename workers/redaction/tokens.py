"""Formats of tokens that are told by a prefix: what their issuers say in public of prefix, alphabet and length.

A token is hidden with all that its alphabet goes on with, so a length is the least that is known, and a longer one is hidden whole.
"""

from __future__ import annotations

import re
from typing import Final

from .checks import has_digits, is_mixed
from .rule import ALNUM, WORD, Check, Rule

A: Final = rb"[A-Za-z0-9]"
T: Final = rb"[A-Za-z0-9_-]"
HEX: Final = rb"[a-f0-9]"
_BASE64: Final = rb"[A-Za-z0-9+/=_-]*"


def _digits(found: re.Match[bytes], secret: bytes) -> bool:
    return has_digits(secret)


def _mixed(found: re.Match[bytes], secret: bytes) -> bool:
    return is_mixed(secret)


def _token(
    kind: str, keyword: bytes, pattern: bytes, *more: bytes, check: Check | None = None, tail: bytes = T + b"*", joined: bool = False
) -> Rule:
    return Rule(kind, (keyword, *more), pattern, check=check, tail=tail, joined=joined)


CLOUDS: Final = (
    Rule(
        "aws-access-key",
        (b"akia", b"asia", b"abia", b"acca"),
        rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])",
        tail=b"",
        joined=True,
    ),
    _token("aws-bedrock-key", b"absk", rb"ABSK[A-Za-z0-9+/]{60,1024}={0,2}", tail=_BASE64),
    _token("google-api-key", b"aiza", rb"AIza" + T + rb"{35,1024}", joined=True),
    _token("google-oauth-token", b"ya29.", rb"ya29\.[A-Za-z0-9_.-]{20,1024}", tail=rb"[A-Za-z0-9_.-]*"),
    _token("google-oauth-token", b"1//0", rb"1//0" + T + rb"{40,1024}"),
    _token("google-client-secret", b"gocspx-", rb"GOCSPX-" + T + rb"{20,1024}"),
    Rule(
        "azure-client-secret",
        (b"q~",),
        A + rb"[A-Za-z0-9_.~-]{2}[0-9]Q~[A-Za-z0-9_.~-]{31,1024}",
        lead=WORD + b".~",
        reach=4,
        tail=rb"[A-Za-z0-9_.~-]*",
    ),
    Rule(
        "azure-account-key",
        (b"accountkey=", b"sharedaccesskey="),
        rb"(?:account|sharedaccess)key=(?P<s>[A-Za-z0-9+/]{16,1024}={0,2})",
        edge=False,
        tail=_BASE64,
        any_case=True,
    ),
    Rule("digitalocean-token", (b"dop_v1_", b"doo_v1_", b"dor_v1_"), rb"do[por]_v1_" + HEX + rb"{64,1024}"),
    _token("heroku-key", b"hrku-", rb"HRKU-" + T + rb"{36,1024}"),
    _token("alibaba-access-key", b"ltai", rb"LTAI" + A + rb"{12,1024}", check=_digits),
    _token("tencent-secret-id", b"akid", rb"AKID" + A + rb"{32,1024}", check=_digits),
    _token("fly-token", b"fm2_", rb"fm2_[A-Za-z0-9+/]{60,1024}={0,2}", tail=_BASE64),
    _token("fly-token", b"fo1_", rb"fo1_" + T + rb"{40,1024}"),
    _token("netlify-token", b"nfp_", rb"nfp_" + A + rb"{36,1024}"),
    _token("pulumi-token", b"pul-", rb"pul-" + HEX + rb"{40,1024}"),
    Rule("terraform-token", (b".atlasv1.",), A + rb"{14}\.atlasv1\." + T + rb"{60,1024}", lead=ALNUM, reach=14),
    _token("vault-token", b"hvs.", rb"hv[sbr]\." + T + rb"{20,1024}", b"hvb.", b"hvr."),
    _token(
        "doppler-token",
        b"dp.pt.",
        rb"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.-]{40,1024}",
        b"dp.st.",
        b"dp.ct.",
        b"dp.sa.",
        tail=rb"[A-Za-z0-9_.-]*",
    ),
    _token("onepassword-token", b"ops_eyj", rb"ops_eyJ[A-Za-z0-9+/=_-]{100,1024}", tail=_BASE64),
    _token("scaleway-key", b"scw", rb"SCW[A-Z0-9]{17}\b", check=_digits, tail=b""),
    _token("tailscale-key", b"tskey-", rb"tskey-[a-z]{2,12}-" + T + rb"{16,1024}"),
    _token("cloudflare-origin-key", b"v1.0-", rb"v1\.0-" + HEX + rb"{24}-" + HEX + rb"{100,1024}"),
)

HOSTS: Final = (
    _token("github-token", b"ghp_", rb"gh[pousr]_[A-Za-z0-9_]{30,1024}", b"gho_", b"ghu_", b"ghs_", b"ghr_", joined=True),
    _token("github-token", b"github_pat_", rb"github_pat_[A-Za-z0-9_]{30,1024}", joined=True),
    _token(
        "gitlab-token",
        b"glpat-",
        rb"gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas|ffct)-[A-Za-z0-9_.-]{16,1024}",
        b"gldt-",
        b"glrt-",
        b"glcbt-",
        b"glptt-",
        b"glft-",
        b"glsoat-",
        b"glagent-",
        tail=rb"[A-Za-z0-9_.-]*",
        check=_mixed,
        joined=True,
    ),
    _token("bitbucket-token", b"atbb", rb"ATBB" + A + rb"{28,1024}"),
    _token("bitbucket-token", b"atctt3xff", rb"ATCTT3xFf[A-Za-z0-9+/=_-]{60,1024}", tail=_BASE64),
    _token("atlassian-token", b"atatt3", rb"ATATT3[A-Za-z0-9+/=_-]{60,1024}", tail=_BASE64),
    _token("sourcegraph-token", b"sgp_", rb"sgp_[A-Za-z0-9_]{40,1024}"),
)

CHAT: Final = (
    _token("slack-token", b"xox", rb"xox[abceoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,1024}", check=_digits, joined=True),
    _token("slack-token", b"xapp-", rb"xapp-[A-Za-z0-9-]{10,1024}", check=_digits, joined=True),
    Rule(
        "slack-webhook",
        (b"hooks.slack.com/",),
        rb"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<s>[A-Za-z0-9/_-]{10,1024})",
        edge=False,
        tail=rb"[A-Za-z0-9/_-]*",
        check=_mixed,
    ),
    Rule("discord-webhook", (b"/api/webhooks/",), rb"/api/webhooks/(?P<s>[0-9]{5,1024}/" + T + rb"{10,1024})", edge=False),
    Rule("teams-webhook", (b"/webhookb2/",), rb"/webhookb2/(?P<s>[A-Za-z0-9@/_-]{20,1024})", edge=False, tail=rb"[A-Za-z0-9@/_-]*"),
    Rule("telegram-token", (b":aa",), rb"[0-9]{8,10}:AA" + T + rb"{33,1024}", lead=b"0123456789", reach=11),
    _token("matrix-token", b"syt_", rb"syt_[A-Za-z0-9=]{1,200}_[A-Za-z]{20}_" + A + rb"{6,1024}", tail=A + b"*"),
)

MODELS: Final = (
    _token("anthropic-key", b"sk-ant-", rb"sk-ant-" + T + rb"{16,1024}", check=_digits, joined=True),
    _token("openai-key", b"sk-proj-", rb"sk-(?:proj|svcacct|admin|None)-" + T + rb"{20,1024}", b"sk-svcacct-", b"sk-admin-", check=_digits),
    _token("openrouter-key", b"sk-or-v1-", rb"sk-or-v1-" + HEX + rb"{32,1024}", joined=True),
    _token("model-api-key", b"sk-", rb"sk-" + T + rb"{20,1024}", check=_digits),
    _token("groq-key", b"gsk_", rb"gsk_" + A + rb"{30,1024}", joined=True),
    _token("xai-key", b"xai-", rb"xai-" + A + rb"{30,1024}"),
    _token("huggingface-token", b"hf_", rb"hf_" + A + rb"{30,1024}", joined=True),
    _token("huggingface-token", b"api_org_", rb"api_org_" + A + rb"{30,1024}", joined=True),
    _token("replicate-token", b"r8_", rb"r8_" + A + rb"{30,1024}"),
    _token("perplexity-key", b"pplx-", rb"pplx-" + A + rb"{40,1024}"),
    _token("nvidia-key", b"nvapi-", rb"nvapi-" + T + rb"{40,1024}"),
    _token("cerebras-key", b"csk-", rb"csk-" + A + rb"{40,1024}"),
    _token("langsmith-key", b"lsv2_", rb"lsv2_(?:pt|sk)_[a-f0-9_]{32,1024}"),
    _token("pinecone-key", b"pcsk_", rb"pcsk_[A-Za-z0-9_]{40,1024}"),
    _token("tavily-key", b"tvly-", rb"tvly-" + T + rb"{20,1024}", check=_digits),
    _token("elevenlabs-key", b"sk_", rb"sk_" + HEX + rb"{48,1024}"),
)

PAYMENT: Final = (
    Rule("stripe-key", (b"sk_live_", b"sk_test_", b"rk_live_", b"rk_test_"), rb"[sr]k_(?:live|test)_" + A + rb"{16,1024}", joined=True),
    _token("stripe-webhook-secret", b"whsec_", rb"whsec_[A-Za-z0-9+/=]{16,1024}", tail=_BASE64),
    _token("square-token", b"sq0", rb"sq0[a-z]{3}-" + T + rb"{22,1024}"),
    Rule("shopify-token", (b"shpat_", b"shpca_", b"shppa_", b"shpss_"), rb"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32,1024}"),
    Rule(
        "plaid-token",
        (b"access-sandbox-", b"access-production-", b"access-development-"),
        rb"access-(?:sandbox|production|development)-[a-f0-9-]{36,1024}",
    ),
)

REGISTRIES: Final = (
    _token("npm-token", b"npm_", rb"npm_" + A + rb"{30,1024}", joined=True),
    _token("pypi-token", b"pypi-", rb"pypi-" + T + rb"{50,1024}", check=_digits, joined=True),
    _token("rubygems-key", b"rubygems_", rb"rubygems_" + HEX + rb"{48,1024}"),
    _token("docker-token", b"dckr_", rb"dckr_(?:pat|oat)_" + T + rb"{20,1024}"),
    _token("nuget-key", b"oy2", rb"oy2[a-z0-9]{43,1024}", check=_digits),
    _token("artifactory-key", b"akcp", rb"AKCp" + A + rb"{60,1024}"),
    _token("clojars-token", b"clojars_", rb"CLOJARS_[a-z0-9]{60,1024}"),
)

SERVICES: Final = (
    _token("sentry-token", b"sntry", rb"sntry[su]_[A-Za-z0-9+/=_-]{40,1024}", tail=_BASE64),
    _token("grafana-token", b"glsa_", rb"glsa_[A-Za-z0-9_]{32,1024}"),
    _token("grafana-token", b"glc_", rb"glc_[A-Za-z0-9+/=]{32,1024}", tail=_BASE64),
    _token("newrelic-key", b"nrak-", rb"NR(?:AK|II|JS|RA|BR)-[A-Za-z0-9]{19,1024}", b"nrii-", b"nrjs-"),
    _token("dynatrace-token", b"dt0", rb"dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64,1024}"),
    _token("posthog-key", b"phx_", rb"phx_" + A + rb"{32,1024}"),
    Rule("sendgrid-key", (b"sg.",), rb"SG\." + T + rb"{16,64}\." + T + rb"{16,1024}"),
    _token("mailgun-key", b"key-", rb"key-" + HEX + rb"{32}\b", tail=b""),
    Rule("mailchimp-key", (b"-us",), HEX + rb"{32}-us[0-9]{1,2}\b", lead=b"0123456789abcdef", reach=33, tail=b""),
    Rule("linear-key", (b"lin_api_", b"lin_oauth_"), rb"lin_(?:api|oauth)_" + A + rb"{32,1024}"),
    _token("notion-token", b"ntn_", rb"ntn_" + A + rb"{40,1024}"),
    _token("notion-token", b"secret_", rb"secret_" + A + rb"{43}\b", check=_digits),
    _token("figma-token", b"figd_", rb"figd_" + T + rb"{36,1024}"),
    _token("databricks-token", b"dapi", rb"dapi" + HEX + rb"{32,1024}(?:-[0-9])?"),
    Rule("planetscale-token", (b"pscale_",), rb"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{32,1024}", tail=rb"[A-Za-z0-9_.-]*"),
    _token("supabase-key", b"sbp_", rb"sbp_" + HEX + rb"{40,1024}"),
    _token("supabase-key", b"sb_secret_", rb"sb_secret_" + T + rb"{20,1024}"),
    _token("postman-key", b"pmak-", rb"PMAK-" + HEX + rb"{24}-" + HEX + rb"{34,1024}"),
    Rule("hubspot-token", (b"pat-na", b"pat-eu"), rb"pat-(?:na|eu)[0-9]-[a-f0-9-]{36,1024}"),
    _token("contentful-token", b"cfpat-", rb"CFPAT-" + T + rb"{40,1024}"),
    _token("dropbox-token", b"sl.", rb"sl\.[A-Za-z0-9_.-]{100,1024}", tail=rb"[A-Za-z0-9_.-]*", check=_digits),
    _token("buildkite-token", b"bkua_", rb"bkua_" + HEX + rb"{40,1024}"),
    Rule("circleci-token", (b"ccipat_", b"cciprj_"), rb"CCIP(?:AT|RJ)_[A-Za-z0-9_]{40,1024}"),
    Rule("sonarqube-token", (b"squ_", b"sqp_", b"sqa_"), rb"sq[upa]_" + HEX + rb"{40,1024}"),
    _token("prefect-key", b"pnu_", rb"pn[ub]_" + A + rb"{36}\b", b"pnb_", tail=b""),
    _token("age-secret-key", b"age-secret-key-1", rb"AGE-SECRET-KEY-1[A-Z0-9]{40,1024}"),
)

TOKENS: Final = (*MODELS, *HOSTS, *CLOUDS, *CHAT, *REGISTRIES, *PAYMENT, *SERVICES)
