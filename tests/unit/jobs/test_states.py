"""The transition table: complete, and true to what it says."""

import pytest

from pulsar.jobs.states import FINAL_STATES, IGNORED, TRANSITIONS, WIRE_STATUS, EventKind, ImpossibleTransition, State, next_state
from pulsar.protocol.status import WireStatus


def test_no_pair_is_both_a_transition_and_ignored() -> None:
    assert not set(TRANSITIONS) & IGNORED


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_word_and_only_final_states_have_final_words(state: State) -> None:
    assert WIRE_STATUS[state].is_final == state.is_final


def test_every_state_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS.values()) | {State.NEW} == set(State)
    assert {state for state, _ in TRANSITIONS} == set(State) - FINAL_STATES


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
@pytest.mark.parametrize("event", list(EventKind))
def test_a_final_state_is_never_left(state: State, event: EventKind) -> None:
    assert next_state(state, event) is None


@pytest.mark.parametrize("state", sorted(set(State) - FINAL_STATES))
def test_every_live_job_can_be_cancelled(state: State) -> None:
    target = next_state(state, EventKind.CANCEL)
    assert target in (State.CANCELLING, State.CANCELLED) or state is State.CANCELLING


@pytest.mark.parametrize("event", [event for event in EventKind if event is not EventKind.KILLED])
def test_a_job_being_ended_ends_only_when_it_is_killed(event: EventKind) -> None:
    assert next_state(State.CANCELLING, event) is None


def test_a_failed_verdict_survives_the_delivery_of_its_files() -> None:
    assert next_state(State.STAGING_OUT, EventKind.STAGED) is State.COMPLETE
    assert next_state(State.STAGING_OUT, EventKind.STAGED, verdict_failed=True) is State.FAILED


def test_a_missing_row_raises() -> None:
    with pytest.raises(ImpossibleTransition, match="started"):
        next_state(State.NEW, EventKind.STARTED)


def test_the_words_are_those_of_the_specification() -> None:
    assert {word.value for word in WireStatus} == {
        "preprocessing",
        "queued",
        "running",
        "postprocessing",
        "complete",
        "failed",
        "cancelled",
        "lost",
    }
