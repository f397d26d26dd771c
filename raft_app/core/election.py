"""Elections: who campaigns when, pre-votes, votes, and who wins.

Paper, sections 5.2 and 5.4.1; thesis, sections 3.10 and 9.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core import replication
from raft_app.core.quorum import VoteResult, vote_result
from raft_app.core.types import (
    NO_REPLICA,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    Role,
)

if TYPE_CHECKING:
    from raft_app.core.raft import Raft


def start_pre_vote(raft: Raft) -> None:
    """Ask the other voters whether they would elect this node."""
    raft.become_pre_candidate()
    log = raft.log
    raft.outbox.now.extend(
        PreVote(peer, raft.replica_id, raft.term + 1, log.last_index, log.last_term)
        for peer in raft.other_voters
    )
    _conclude_pre_vote(raft)


def start_election(raft: Raft, *, transfer: bool) -> None:
    """Ask the other voters for their votes, as soon as our own is durable.

    Args:
        raft: the node that campaigns.
        transfer: the leader asked for this election.
    """
    raft.become_candidate()
    log = raft.log
    raft.outbox.after_durable.extend(
        RequestVote(peer, raft.replica_id, raft.term, log.last_index, log.last_term, transfer)
        for peer in raft.other_voters
    )


def start_hinted_pre_vote(raft: Raft) -> bool:
    """Start a pre-vote round on word that the leader may be gone; tell whether one was started.

    Refused while the leader is heard, by a leader, by one that may not campaign, and by one that
    voted for a candidate, itself perhaps, that may still win.
    """
    is_waiting = raft.is_own_vote_in_flight or raft.awaits_outcome
    if not raft.may_campaign or raft.hears_leader or is_waiting:
        return False
    start_pre_vote(raft)
    return True


def start_campaign(raft: Raft) -> None:
    """Campaign now, as if the election timeout had passed."""
    if raft.may_campaign and not raft.is_leader and not raft.is_own_vote_in_flight:
        start_pre_vote(raft)


def timeout_now(raft: Raft) -> None:
    """Campaign at once, without a pre-vote: the leader of our term wants it.

    A candidate goes on with its election; a node that may not campaign ignores it.
    """
    if raft.role in {Role.FOLLOWER, Role.PRE_CANDIDATE} and raft.may_campaign:
        start_election(raft, transfer=True)


def pre_vote(raft: Raft, rpc: PreVote) -> None:
    """Answer whether we would vote for the sender; changes nothing here."""
    granted = (
        raft.may_vote
        and rpc.term > raft.term
        and not raft.hears_leader
        and raft.log.is_up_to_date(rpc.last_index, rpc.last_term)
    )
    term = rpc.term if granted else raft.term
    raft.outbox.now.append(PreVoteReply(rpc.sender, raft.replica_id, term, granted))


def pre_vote_reply(raft: Raft, rpc: PreVoteReply) -> None:
    """Count an answer; a refusal leads to another round soon.

    It may be that the replier has merely not noticed the loss of the leader yet, and in a group
    of three its refusal would otherwise stand until a whole new timeout.
    """
    if not rpc.granted and rpc.term > raft.term:
        was_asking = raft.role is Role.PRE_CANDIDATE
        raft.become_follower(rpc.term, NO_REPLICA)
        if was_asking:
            raft.campaign_soon()
        return
    if raft.role is not Role.PRE_CANDIDATE:
        return
    if not rpc.granted:
        raft.votes.setdefault(rpc.sender, False)
        raft.campaign_soon()
    elif rpc.term == raft.term + 1:
        raft.votes[rpc.sender] = True
        _conclude_pre_vote(raft)


def _conclude_pre_vote(raft: Raft) -> None:
    if vote_result(raft.memberships.voters, raft.votes) is VoteResult.WON:
        start_election(raft, transfer=False)


def request_vote(raft: Raft, rpc: RequestVote) -> None:
    """Vote for the sender, once per term and only if its log is as good as ours.

    A node that believes to be a learner, or not to belong to the group, answers too: the entry
    that made it a voter may be committed without having reached it yet, and the group may need it.
    """
    is_free = raft.vote == rpc.sender or (raft.vote == NO_REPLICA and raft.leader == NO_REPLICA)
    if not (raft.may_vote and is_free and raft.log.is_up_to_date(rpc.last_index, rpc.last_term)):
        refuse_vote(raft, rpc)
        return
    if raft.role is Role.PRE_CANDIDATE:
        raft.become_follower(raft.term, NO_REPLICA)  # Late pre-votes must not end that election.
    raft.grant_vote(rpc.sender)
    raft.outbox.after_durable.append(
        RequestVoteReply(rpc.sender, raft.replica_id, raft.term, granted=True)
    )


def refuse_vote(raft: Raft, rpc: RequestVote) -> None:
    """Answer with our own term that there is no vote."""
    raft.outbox.after_durable.append(
        RequestVoteReply(rpc.sender, raft.replica_id, raft.term, granted=False)
    )


def request_vote_reply(raft: Raft, rpc: RequestVoteReply) -> None:
    """Count an answer to the election that runs."""
    if raft.role is Role.CANDIDATE:
        if not rpc.granted:
            raft.expect_no_outcome()
        count_vote(raft, rpc.sender, granted=rpc.granted)


def count_vote(raft: Raft, voter: int, *, granted: bool) -> None:
    """Count one vote of the current election; the first answer of a voter stands."""
    raft.votes.setdefault(voter, granted)
    match vote_result(raft.memberships.voters, raft.votes):
        case VoteResult.WON:
            raft.become_leader()
            replication.send_heartbeats(raft)
        case VoteResult.LOST:
            raft.become_follower(raft.term, NO_REPLICA)
        case VoteResult.PENDING:
            pass


def own_vote_durable(raft: Raft) -> None:
    """Count the vote of this node for itself, and give the others time for theirs."""
    raft.await_outcome()
    raft.restart_election_timer()
    count_vote(raft, raft.replica_id, granted=True)
