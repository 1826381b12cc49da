"""CUST-4, CUST-5 and CUST-6, slowly: what was signed by whom, with which nonces, and within which limits."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TypeVar

from holdfast_model.vocabulary import (
    SWEEP_PREFIX,
    Amount,
    Bucket,
    CommitNonce,
    DepositCredited,
    LiabilitiesPublished,
    PaymentApproved,
    PaymentBroadcast,
    PaymentIntent,
    PaymentSigned,
    Scheme,
    ShareReceived,
    SigningBegan,
    SigningRestarted,
    SubmitShare,
    SweepCompleted,
    SweepFunds,
    TierRule,
    View,
    margin_account,
    message_of,
    signature_is_valid,
    structural_commitment_is_valid,
    structural_share,
    structural_signature,
)
from holdfast_model.vocabulary.liabilities import Liability, build_liabilities
from slow_forms.chains import accepted, truth_at
from slow_forms.standing import chains_at, label_of, payments_at
from slow_forms.tale import Asked, Moment, Tale, Violations

TIER_PREFIX = "@tier/"
Spoken = TypeVar("Spoken", CommitNonce, SubmitShare)


def _tiers(tale: Tale) -> Mapping[str, TierRule]:
    return {tier.tier: tier for tier in tale.setup.custody.tiers} if tale.setup.custody is not None else {}


# CUST-4 -------------------------------------------------------------------------------------------------------------


def cust_4(tale: Tale) -> Violations:
    """Nothing is broadcast without enough valid shares of distinct signers over what was approved."""
    if tale.setup.custody is None:
        return
    for moment in tale.all(ShareReceived):
        share: ShareReceived = moment.what
        intent = _approved(tale, moment.at, share.payment)
        said = [command.share for command in _said(tale, moment.at, SubmitShare, share.payment, share.signer)]
        if (
            intent is None
            or share.signer not in _asked(tale, moment.at, share.payment)
            or share.share not in said
            or not _is_valid(tale, moment.at, intent, share.signer, share.share)
        ):
            yield moment.step, f"payment {share.payment}"
    for moment in tale.all(PaymentSigned, PaymentBroadcast):
        label = label_of(moment.what)
        approved = _approved(tale, moment.at, label)
        if approved is None:
            wrong = isinstance(moment.what, PaymentBroadcast)
        else:
            intent = moment.what.intent if isinstance(moment.what, PaymentBroadcast) else approved
            wrong = intent != approved or not _is_signed(tale, moment, intent)
        if wrong:
            yield moment.step, f"payment {label}"


def _approved(tale: Tale, end: int, label: str) -> PaymentIntent | None:
    intents = [event.intent for event in tale.before(end, PaymentApproved) if event.intent.payment == label]
    return intents[-1] if intents else None


def _asked(tale: Tale, end: int, label: str) -> tuple[str, ...]:
    """Who was asked for shares in the attempt at hand."""
    attempt = (label, _attempt(tale, end, label))
    asked = [event.signers for event in tale.before(end, SigningBegan) if (event.payment, event.attempt) == attempt]
    return asked[-1] if asked else ()


def _said(tale: Tale, end: int, kind: type[Spoken], label: str, signer: str) -> list[Spoken]:
    """What a signer said in the attempt at hand, and was not refused."""
    return [
        moment.what.command
        for moment in tale.between(0, end, Asked)
        if type(moment.what.command) is kind
        and (moment.what.command.payment, moment.what.command.signer) == (label, signer)
        and accepted(moment.what)
        and _attempt(tale, moment.at, label) == _attempt(tale, end, label)
    ]


def _attempt(tale: Tale, end: int, label: str) -> int:
    attempts = [event.attempt for event in tale.before(end, SigningRestarted) if event.payment == label]
    return attempts[-1] if attempts else 1


def _commitments(tale: Tale, end: int, label: str) -> dict[str, str]:
    """The first commitment of each signer who was asked."""
    first = {}
    for signer in _asked(tale, end, label):
        said = [command.commitment for command in _said(tale, end, CommitNonce, label, signer)]
        first[signer] = said[0] if said else ""
    return first


def _is_valid(tale: Tale, end: int, intent: PaymentIntent, signer: str, share: str) -> bool:
    """Whether a structural share is what its signer makes of the intent; those of FROST count together."""
    tier = _tiers(tale).get(intent.tier)
    if tier is None or tier.scheme is not Scheme.STRUCTURAL:
        return True
    message, commitments = message_of(intent), _commitments(tale, end, intent.payment)
    committed = structural_commitment_is_valid(signer=signer, message=message, commitment=commitments.get(signer, ""))
    return committed and share == structural_share(signer=signer, message=message, commitments=commitments)


def _is_signed(tale: Tale, moment: Moment, intent: PaymentIntent) -> bool:
    label, end = intent.payment, moment.at
    approved = _approved(tale, end, label)
    assert approved is not None
    tier = _tiers(tale).get(approved.tier)
    if tier is None:
        return False
    shares = {
        signer: [command.share for command in _said(tale, end, SubmitShare, label, signer)]
        for signer in _asked(tale, end, label)
    }
    valid = [
        signer
        for signer, said in shares.items()
        if signer in tier.signers and any(_is_valid(tale, end, approved, signer, share) for share in said)
    ]
    if len(valid) < tier.threshold:
        return False
    signature, message = moment.what.signature, message_of(intent)
    if tier.scheme is Scheme.FROST:
        return signature_is_valid(bytes.fromhex(tier.group_key), message, bytes.fromhex(signature))
    first = {signer: said[0] for signer, said in shares.items() if said}
    commitments = _commitments(tale, end, label)
    return bool(signature == structural_signature(message=message, commitments=commitments, shares=first))


# CUST-5 -------------------------------------------------------------------------------------------------------------


def cust_5(tale: Tale) -> Violations:
    """No signing nonce is used twice: none is committed to twice, and no commitment serves for two shares."""
    if tale.setup.custody is None:
        return
    for moment in tale.all(Asked):
        command = moment.what.command
        if not isinstance(command, CommitNonce | SubmitShare) or not accepted(moment.what):
            continue
        before = [other.what.command for other in tale.between(0, moment.at, Asked) if accepted(other.what)]
        committed = [other for other in before if isinstance(other, CommitNonce)]
        if isinstance(command, CommitNonce):
            known = {nonce for other in committed for nonce in _nonces(tale, moment.at, other)}
            for nonce in _nonces(tale, moment.at, command):
                if nonce in known:
                    yield moment.step, f"nonce {nonce}"
        else:
            commitment = _goes_with(command, before)
            shares = [place for place, other in enumerate(before) if isinstance(other, SubmitShare)]
            used = [_goes_with(before[place], before[:place]) for place in shares]
            if commitment is not None and commitment in used:
                yield moment.step, f"nonce {commitment}"


def _goes_with(share: object, before: Sequence[object]) -> str | None:
    """The commitment that a share was made with: its signer's last one for that payment."""
    assert isinstance(share, SubmitShare)
    own = [
        other.commitment
        for other in before
        if isinstance(other, CommitNonce) and (other.payment, other.signer) == (share.payment, share.signer)
    ]
    return own[-1] if own else None


def _nonces(tale: Tale, end: int, command: CommitNonce) -> list[str]:
    """With FROST the two points of a commitment; of a structural one the signer's counter, 16 digits."""
    intent = _approved(tale, end, command.payment)
    tier = _tiers(tale).get(intent.tier) if intent is not None else None
    said = command.commitment
    if tier is not None and tier.scheme is Scheme.FROST:
        return [said[: len(said) // 2], said[len(said) // 2 :]]
    return [f"{command.signer} {said[:16]}"]


# CUST-6 -------------------------------------------------------------------------------------------------------------


def cust_6(tale: Tale) -> Violations:
    """Tier limits, time locks and suspensions hold, and published liabilities are those of the ledger."""
    if tale.setup.custody is None:
        return
    for moment in tale.all(PaymentApproved):
        for what in _beyond_its_limits(tale, moment):
            yield moment.step, f"{what} {moment.what.intent.payment}"
    for moment in tale.all(PaymentBroadcast):
        intent = moment.what.intent
        if tale.time_ms(moment.at) < _locked_until(tale, moment.at, intent.payment):
            yield moment.step, f"lock of {intent.payment}"
        if not intent.payment.startswith(SWEEP_PREFIX) and not chains_at(tale, moment.at)[intent.asset][3]:
            yield moment.step, f"asset of {intent.payment}"
    for moment in tale.all(DepositCredited):
        if not chains_at(tale, moment.at)[moment.what.asset][2]:
            yield moment.step, f"asset of {moment.what.transaction}"
    for moment in tale.all(SweepCompleted):
        swept, label = moment.what, label_of(moment.what)
        asked = _sweep(tale, moment.at, label)
        same = asked is None or (asked.asset, asked.amount, asked.source, asked.target) == (
            swept.asset,
            swept.amount,
            swept.source,
            swept.target,
        )
        if not same or label not in truth_at(tale, moment.at).paid:
            yield moment.step, f"sweep {label}"
    yield from _liabilities(tale)


def _beyond_its_limits(tale: Tale, moment: Moment) -> list[str]:
    intent, end = moment.what.intent, moment.at
    tiers, held = _tiers(tale), truth_at(tale, end).held
    if intent.tier not in tiers:
        return ["tier of"]
    tier, wrong = tiers[intent.tier], []
    allowing = [rule.tier for rule in tiers.values() if _allows(rule, intent)]
    wrong += ["limit of"] * (intent.tier not in allowing)
    under_way = [payment[0] for payment in payments_at(tale, end).values()]
    promised = sum(
        other.amount + other.fee for other in under_way if (other.tier, other.asset) == (intent.tier, intent.asset)
    )
    there = held.get((intent.tier, intent.asset), 0)
    wrong += ["funds of"] * (intent.amount + intent.fee > there - promised)
    wrong += ["lock of"] * (moment.what.not_before_ms != tale.time_ms(end) + tier.delay_ms)
    if not intent.payment.startswith(SWEEP_PREFIX):
        wrong += ["tier of"] * ([intent.tier] != (allowing or [intent.tier])[:1])
        return wrong + ["asset of"] * (not chains_at(tale, end)[intent.asset][3])
    asked = _sweep(tale, end, intent.payment)
    if asked is None:
        return [*wrong, "sweep"]
    fee = next(chain.fee for chain in tale.setup.custody.chains if chain.asset == asked.asset)  # type: ignore[union-attr]  # there is custody
    sweep = (asked.asset, asked.amount, TIER_PREFIX + asked.target, asked.source, fee)
    wrong += ["sweep"] * ((intent.asset, intent.amount, intent.destination, intent.tier, intent.fee) != sweep)
    coming = sum(
        other.amount
        for other in under_way
        if (other.destination, other.asset) == (TIER_PREFIX + asked.target, intent.asset)
    )
    after = held.get((asked.target, intent.asset), 0) + coming + intent.amount
    most = [item.amount for item in tiers[asked.target].balance_max if item.asset == intent.asset]
    return wrong + ["limit of"] * any(after > amount for amount in most)


def _allows(tier: TierRule, intent: PaymentIntent) -> bool:
    return all(intent.amount <= item.amount for item in tier.payment_max if item.asset == intent.asset)


def _sweep(tale: Tale, end: int, label: str) -> SweepFunds | None:
    """The sweep of this name that was asked for first."""
    asked = [moment.what for moment in tale.between(0, end, Asked) if isinstance(moment.what.command, SweepFunds)]
    same = [item.command for item in asked if SWEEP_PREFIX + item.command.sweep == label and accepted(item)]
    return same[0] if same else None


def _locked_until(tale: Tale, end: int, label: str) -> int:
    """The time of the approval and the delay of the tier."""
    until = 0
    for moment in tale.between(0, end, PaymentApproved):
        intent = moment.what.intent
        if intent.payment == label and intent.tier in _tiers(tale):
            until = tale.time_ms(moment.at) + _tiers(tale)[intent.tier].delay_ms
    return until


def _liabilities(tale: Tale) -> Violations:
    for moment in tale.all(LiabilitiesPublished):
        told: LiabilitiesPublished = moment.what
        assert moment.asked is not None
        seq = moment.asked.answer.seq or 0
        key = sha256(f"holdfast liabilities {told.asset} {seq}".encode()).digest()
        owed = [
            Liability(account=client, asset=told.asset, amount=_owed(tale, moment.at, client, told.asset))
            for client in tale.setup.clients
        ]
        tree = build_liabilities(told.asset, owed, salt_key=key)
        if (told.root, told.total, told.accounts) != (tree.root, tree.total, len(owed)):
            yield moment.step, f"liabilities in {told.asset}"
    for moment in tale.all(View):
        published = {
            item.what.asset: (item.what.root, item.what.total, item.asked.answer.seq or 0)
            for item in tale.between(0, moment.at, LiabilitiesPublished)
            if item.asked is not None
        }
        shown = {item.asset: (item.root, item.total, item.seq) for item in moment.what.liabilities}
        for asset in {*published, *shown}:
            if published.get(asset) != shown.get(asset):
                yield moment.step, f"liabilities shown in {asset}"


def _owed(tale: Tale, end: int, client: str, asset: str) -> Amount:
    """What is free, held and collateral of a client, in isolated accounts too, at least zero."""
    accounts = [client, *(margin_account(client, product, isolated=True) for product in tale.isolated)]
    buckets = (Bucket.FREE, Bucket.HELD, Bucket.COLLATERAL)
    total = sum(tale.balance(end, account, bucket, asset) for account in accounts for bucket in buckets)
    return Amount(max(0, total))
