"""A conversation in lines over the lives of a program: who gets which line, and what is said of what was cut."""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from workers.claude.dialogue import ANSWERING, BEGINNING, COMING_UP, REPEATS, STRAY, Dialogue, step
from workers.claude.dialogue_news import (
    Began,
    Closed,
    Cut,
    Deafened,
    Deliver,
    Dropped,
    Effect,
    Ended,
    Ending,
    Held,
    Kind,
    Line,
    News,
    Said,
    Shut,
    Tick,
    Torn,
    Write,
    Wrote,
    line_of,
)
from workers.claude.life_pipes import WholeLines
from workers.claude.notices import shown


def encoded(**said: Any) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()


def prompt(text: str) -> bytes:
    return encoded(type="user", message={"role": "user", "content": text})


def request(id: str, subtype: str) -> bytes:
    return encoded(type="control_request", request_id=id, request={"subtype": subtype})


def response(id: str, subtype: str = "success") -> bytes:
    return encoded(type="control_response", response={"subtype": subtype, "request_id": id})


INIT = encoded(type="system", subtype="init", session_id="s")
RESULT = encoded(duration_ms=1, type="result", subtype="success", result="ok")


@attrs.define
class Life:
    """A program that reads what it is given when it likes, and answers one prompt after the other."""

    given: list[Line] = attrs.field(factory=list)
    read: int = 0
    answered: int = 0
    ending: bool = False
    shut: bool = False

    @property
    def prompts(self) -> list[Line]:
        return [line for line in self.given[: self.read] if line.kind is Kind.PROMPT]


@attrs.define
class Stage:
    """A dialogue with a caller on one side and lives on the other, held to what is promised at each step."""

    dialogue: Dialogue = Dialogue()
    now: float = 0.0
    lives: list[Life] = attrs.field(factory=list)
    up: bool = False
    heard: list[bytes] = attrs.field(factory=list)
    effects: list[Effect] = attrs.field(factory=list)
    cut: list[Line] = attrs.field(factory=list)
    resent: list[Line] = attrs.field(factory=list)

    @property
    def life(self) -> Life:
        return self.lives[-1]

    def tell(self, news: News) -> tuple[Effect, ...]:
        self.dialogue, effects = step(self.dialogue, news, self.now)
        for effect in effects:
            self.effects.append(effect)
            match effect:
                case Write(lines):
                    assert self.up and not self.life.ending and not self.life.shut and lines
                    self.life.given += lines
                case Shut():
                    assert self.up and not self.life.ending and not self.life.shut
                    self.life.shut = True
                case Deliver(lines):
                    self.heard += lines
                case Cut(lines, resent):
                    self.cut += lines
                    self.resent += resent
                case _:
                    pass
        return effects

    def say(self, data: bytes, idempotent: bool = False) -> tuple[Effect, ...]:
        return self.tell(Said(line_of(data, idempotent=idempotent)))

    def begin(self) -> tuple[Effect, ...]:
        self.lives.append(Life())
        self.up = True
        return self.tell(Began(len(self.lives)))

    def wrote(self, *lines: bytes) -> tuple[Effect, ...]:
        return self.tell(Wrote(lines))

    def ask_to_end(self) -> None:
        self.life.ending = True
        self.tell(Ending())

    def end(self, rest: bytes = b"") -> tuple[Effect, ...]:
        self.up = False
        unread = tuple(self.life.given[self.life.read :])
        del self.life.given[self.life.read :]
        return self.tell(Ended(rest, unread))

    def read(self) -> None:
        """The program reads its next line."""
        life = self.life
        if life.read < len(life.given):
            line = life.given[life.read]
            life.read += 1
            if line.kind is Kind.PROMPT:
                self.wrote(INIT)
            elif line.kind is Kind.REQUEST:
                self.wrote(response(line.id))

    def answer(self) -> None:
        """The program answers the next prompt that it has read."""
        if self.life.answered < len(self.life.prompts):
            self.life.answered += 1
            self.wrote(RESULT)


def given_to(stage: Stage) -> list[list[bytes]]:
    return [[line.data for line in life.given] for life in stage.lives]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["prompt", "again", "other", "model", "ask"])),
        st.tuples(st.sampled_from(["begin", "read", "read", "answer", "answer", "end", "ending", "torn", "close"])),
        st.tuples(st.just("hold"), st.booleans()),
    ),
    max_size=60,
)


@given(actions=ACTIONS, closes=st.booleans())
def test_each_line_is_read_by_exactly_one_life(actions: list[tuple[Any, ...]], closes: bool) -> None:
    """Whole, in order, and never after the life was told to end; what has no result when that is over is reported, and nothing else is."""
    stage = Stage(Dialogue(closes=closes))
    said: list[bytes] = []
    closed = False
    for number, (action, *more) in enumerate(actions):
        match action:
            case "prompt" | "again" | "other" | "model" | "ask" if not closed:
                data = {
                    "prompt": prompt(f"{number}"),
                    "again": prompt(f"{number} again"),
                    "other": encoded(type="keep_alive", number=number),
                    "model": request(f"{number}", "set_model"),
                    "ask": request(f"{number}", "mcp_status"),
                }[action]
                said.append(data)
                stage.say(data, action == "again")
            case "close":
                closed = True
                stage.tell(Closed())
            case "begin" if not stage.up:
                stage.begin()
            case "read" if stage.up:
                stage.read()
            case "answer" if stage.up:
                stage.answer()
            case "ending" if stage.up:
                stage.ask_to_end()
            case "end" if stage.up:
                stage.end()
            case "torn" if stage.up:
                stage.end(b'{"type":"assi')
            case "hold":
                stage.tell(Held(more[0]))
            case _:
                pass
        assert len(stage.dialogue.turns) <= 1
    # what is left is said to a last life, which answers all of it
    if stage.up:
        stage.end()
    stage.tell(Held(False))
    stage.begin()
    for _ in range(2 * len(said) + 2):
        stage.read()
        stage.answer()

    for kind in (Kind.PROMPT, Kind.REQUEST, Kind.OTHER):
        read = [line for life in stage.lives for line in life.given if line.kind is kind and not line.replayed]
        again = {line.data for line in stage.resent}
        first = list(dict.fromkeys(line.data for line in read))
        assert first == [data for data in said if line_of(data).kind is kind], "in order, none left out"
        assert all(
            (line.idempotent or line.repeats) and line.data in again for line in read if [one.data for one in read].count(line.data) > 1
        )
    read = [line for life in stage.lives for line in life.prompts]
    answered = sum(life.answered for life in stage.lives)
    assert stage.heard.count(RESULT) == answered and len(read) == answered + len(stage.cut)
    assert all(line.idempotent for line in stage.resent) and not stage.dialogue.waiting
    assert all(json.loads(line) for line in stage.heard)
    errors = [line for line in stage.heard if b'"error_during_execution"' in line]
    assert len(errors) == (sum(not line.idempotent for line in stage.cut) if closes else 0)
    assert not closed or stage.life.shut


@given(st.lists(st.binary(max_size=8).map(lambda part: part.replace(b"\r", b"\n"))), st.integers(1, 12))
def test_lines_are_the_same_however_they_arrive(chunks: list[bytes], longest: int) -> None:
    """What has no end yet is kept for later; a line that is too long is left out, and counted."""
    lines = WholeLines(longest)
    found = [line for chunk in chunks for line in lines.take(chunk)]
    data = b"".join(chunks)
    *whole, rest = data.split(b"\n")
    unlimited = WholeLines()
    assert [line for chunk in chunks for line in unlimited.take(chunk)] == whole and unlimited.rest == rest
    assert [line for line in found if len(line) <= longest] == [line for line in whole if len(line) <= longest]
    assert all(size > longest for size in lines.lost) and len(lines.rest) <= longest
    assert len(found) + len(lines.lost) == len(whole)


def test_a_prompt_waits_for_the_result_of_the_one_before() -> None:
    """The program would take them all at once, and answer two with one result; requests do not wait."""
    stage = Stage()
    stage.begin()
    stage.say(prompt("a"))
    stage.say(prompt("b"))
    stage.say(request("r", "interrupt"))
    assert given_to(stage) == [[prompt("a"), request("r", "interrupt")]]
    stage.wrote(INIT, response("r"), RESULT)
    assert given_to(stage)[0][-1] == prompt("b")


def test_between_two_turns_nothing_begins_while_a_restart_is_due() -> None:
    """It is idle then, whatever waits; afterwards it goes on, with this life or the next one."""
    stage = Stage()
    stage.begin()
    stage.say(prompt("a"))
    stage.say(prompt("b"))
    stage.tell(Held(True))
    assert stage.dialogue.is_busy(0)
    stage.wrote(INIT, RESULT)
    assert not stage.dialogue.is_busy(0) and len(stage.life.given) == 1
    stage.life.read = 1
    stage.end()
    stage.tell(Held(False))
    stage.begin()
    assert given_to(stage) == [[prompt("a")], [prompt("b")]] and not stage.cut


def test_a_prompt_that_is_no_utf_8_is_a_prompt_to_the_program_and_to_us() -> None:
    """It has its turn like any other, and goes in when the one before has its result; a mark of the byte order changes nothing."""
    latin = prompt("x").replace(b"x", b"\xe9")
    assert [line_of(line).kind for line in (latin, b"\xef\xbb\xbf" + prompt("a"), b"\xe9")] == [Kind.PROMPT, Kind.PROMPT, Kind.OTHER]
    stage = Stage()
    stage.begin()
    stage.say(prompt("first"))
    stage.say(latin)
    assert given_to(stage) == [[prompt("first")]]
    stage.wrote(INIT, RESULT)
    assert given_to(stage) == [[prompt("first"), latin]]


def test_what_sets_a_session_up_is_said_to_each_later_life() -> None:
    """The latest of each kind that was not refused, before anything else; the caller does not get a second response."""
    stage = Stage()
    stage.begin()
    for id, subtype in [("1", "set_model"), ("2", "initialize"), ("3", "set_model"), ("4", "set_permission_mode"), ("5", "mcp_status")]:
        stage.say(request(id, subtype))
    stage.wrote(*(response(id, "error" if id == "4" else "success") for id in "12345"))
    stage.life.read = 5
    stage.end()
    stage.say(prompt("a"))
    heard = len(stage.heard)
    stage.begin()
    assert given_to(stage)[1] == [request("2", "initialize"), request("3", "set_model"), prompt("a")]
    stage.wrote(response("2"), response("3"), response("9"))
    assert stage.heard[heard:] == [response("9")]


def test_a_request_without_a_response_goes_with_its_life() -> None:
    """The caller is told so in its place; one that was not even read is read by the next life; what sets up is said again, and answered."""
    stage = Stage(Dialogue(closes=True))
    stage.begin()
    for id, subtype in [("1", "mcp_status"), ("2", "set_model"), ("3", "mcp_status")]:
        stage.say(request(id, subtype))
    stage.life.read = 2
    stage.end()
    refused = [json.loads(line)["response"]["request_id"] for line in stage.heard]
    assert refused == ["1", "2"]
    stage.begin()
    assert given_to(stage)[1] == [request("3", "mcp_status")]


def test_a_request_that_was_answered_is_answered_once() -> None:
    """Its session is not busy for it any more, and its end refuses nothing; nor are callers told in lines who do not want it."""
    stage = Stage(Dialogue(closes=True))
    stage.begin()
    stage.say(request("1", "mcp_status"))
    stage.life.read = 1
    assert stage.dialogue.is_busy(0.0)
    stage.wrote(response("1"))
    assert not stage.dialogue.is_busy(0.0)
    stage.end()
    assert stage.heard == [response("1")]
    quiet = Stage()
    quiet.begin()
    quiet.say(prompt("a"))
    quiet.read()
    quiet.end()
    assert quiet.heard == [INIT]


def test_what_went_on_in_the_background_goes_with_its_life() -> None:
    """A later one is not busy for it."""
    stage = Stage()
    stage.begin()
    stage.wrote(encoded(type="system", subtype="background_tasks_changed", tasks=[{"id": "t"}]))
    stage.end()
    stage.begin()
    assert not stage.dialogue.is_busy(0.0)


def test_which_conversation_it_is() -> None:
    """As the program has said last; what is no id is none."""
    stage = Stage()
    stage.begin()
    for said in ("a", "b", None, 5):
        stage.wrote(encoded(type="system", subtype="init", session_id=said))
    assert stage.dialogue.session_id == "b"


def test_an_answer_to_a_question_of_a_life_that_is_over_is_for_nobody() -> None:
    """The next one would not know what it is about."""
    stage = Stage()
    stage.begin()
    stage.wrote(request("q", "can_use_tool"), request("p", "can_use_tool"), encoded(type="control_cancel_request", request_id="p"))
    stage.say(response("q"))
    assert given_to(stage) == [[response("q")]]
    stage.life.read = 1
    assert stage.say(response("p")) == (Dropped((line_of(response("p")),)),)
    stage.wrote(request("q2", "can_use_tool"))
    stage.ask_to_end()
    stage.say(response("q2"))
    assert Dropped((line_of(response("q2")),)) in stage.end()
    stage.begin()
    assert given_to(stage)[1] == []


def test_a_line_without_an_end() -> None:
    """Of a record that began it is dropped; words of a program that fails are passed on, and so is a record that lacks nothing else."""
    stage = Stage()
    for rest, effect in [
        (b'{"type":"result","res', Torn(21)),
        (b"Error: no such thing", Deliver((b"Error: no such thing",))),
        (RESULT, Deliver((RESULT,))),
    ]:
        stage.begin()
        assert stage.end(rest) == (effect,)


def test_turns_that_no_prompt_has_begun() -> None:
    """A task in the background has ended, say: prompts wait for the end of that turn, but not for ever."""
    stage = Stage()
    stage.begin()
    stage.wrote(INIT)
    stage.say(prompt("a"))
    assert stage.dialogue.is_busy(0) and not stage.life.given
    stage.wrote(RESULT)
    assert len(stage.life.given) == 1
    stage.wrote(INIT, RESULT, INIT)
    stage.say(prompt("b"))
    stage.now = STRAY - 1
    stage.wrote(encoded(type="assistant"))
    stage.now += STRAY - 1
    stage.tell(Tick())
    assert len(stage.life.given) == 1 and stage.dialogue.next_tick == stage.now + 1
    stage.now += 1
    stage.tell(Tick())
    assert len(stage.life.given) == 2


def test_a_prompt_that_begins_no_turn_holds_nobody_up() -> None:
    """The program may drop one that it has seen before; a life that comes up may take longer, a turn that has begun as long as it does."""
    stage = Stage()
    stage.begin()
    for text in "abcd":
        stage.say(prompt(text))
    assert stage.dialogue.next_tick == COMING_UP
    stage.now = COMING_UP
    stage.tell(Tick())
    assert len(stage.life.given) == 2
    stage.wrote(INIT, RESULT)
    assert len(stage.life.given) == 3 and stage.dialogue.next_tick == stage.now + BEGINNING
    stage.now += BEGINNING
    stage.tell(Tick())
    assert len(stage.life.given) == 4
    stage.wrote(INIT)
    stage.now = 1e6
    stage.say(prompt("e"))
    assert len(stage.life.given) == 4 and stage.dialogue.next_tick is None


def test_a_result_says_what_it_is_about() -> None:
    """That of the end of a task in the background is no answer to the prompt that was said at the same time."""
    stage = Stage()
    stage.begin()
    stage.say(prompt("a"))
    stage.say(prompt("b"))
    stage.wrote(INIT, encoded(type="result", origin={"kind": "task-notification"}))
    assert len(stage.life.given) == 1 and stage.dialogue.next_tick == BEGINNING
    stage.wrote(INIT, encoded(type="result", origin={"kind": "human"}))
    assert len(stage.life.given) == 2


def test_it_is_over_once_everything_is_answered() -> None:
    """Which takes that nothing more comes, and the results of all that was said; the turns of a life that was cut have none."""
    stage = Stage()
    stage.say(prompt("a"))
    stage.begin()
    assert not stage.dialogue.is_over
    stage.read()
    stage.tell(Closed())
    assert stage.life.shut and not stage.dialogue.is_over
    stage.answer()
    assert stage.dialogue.is_over
    stage.wrote(INIT)
    assert not stage.dialogue.is_over  # a turn of the program's own
    stage.end()
    assert not stage.dialogue.is_over
    stage.begin()
    assert stage.dialogue.is_over


def test_what_makes_it_busy() -> None:
    """Tasks in the background, and for a moment a request; some builds do not answer those that they do not know."""
    stage = Stage()
    stage.begin()
    stage.wrote(encoded(type="system", subtype="background_tasks_changed", tasks=[{"id": "t"}]))
    assert stage.dialogue.is_busy(0)
    stage.wrote(encoded(type="system", subtype="background_tasks_changed", tasks=[]))
    assert not stage.dialogue.is_busy(0)
    stage.say(request("r", "unheard_of"))
    assert stage.dialogue.is_busy(0) and stage.dialogue.next_tick == ANSWERING and not stage.dialogue.is_busy(ANSWERING)
    quoted = encoded(type="assistant", text='"type":"result" "init"')
    stage.say(prompt("a"))
    stage.wrote(quoted)
    assert stage.dialogue.turns and stage.heard[-1] == quoted


def test_where_nobody_reads_prompts_go_in_as_they_come() -> None:
    """As they would by themselves: nothing is known of turns."""
    stage = Stage()
    stage.begin()
    stage.say(prompt("a"))
    stage.say(prompt("b"))
    stage.tell(Deafened())
    stage.say(prompt("c"))
    assert given_to(stage) == [[prompt("a"), prompt("b"), prompt("c")]] and not stage.dialogue.is_busy(0)


def test_what_is_no_message_goes_in_as_it_is() -> None:
    """It is the program's to complain about."""
    stage = Stage()
    stage.begin()
    for data in (b"", b"{", b"[]", b"\xff", b'{"type":"user"', b'{"type":"control_request"}', encoded(type="control_response", response=1)):
        stage.say(data)
        assert stage.life.given[-1].data == data


def test_a_prompt_that_ends_each_life_is_not_said_for_ever() -> None:
    """Although it may be said again: what it does to one life it does to the next. Then it is an error, and others go on."""
    stage = Stage(Dialogue(closes=True))
    stage.say(prompt("poison"), idempotent=True)
    stage.say(prompt("sound"), idempotent=True)
    for _ in range(REPEATS + 1):
        assert not [line for line in stage.heard if line != INIT]
        stage.begin()
        stage.read()
        stage.end()
    assert [line.data for line in stage.cut] == [prompt("poison")] * (REPEATS + 1) and len(stage.resent) == REPEATS
    (error,) = [line for line in stage.heard if line != INIT]
    assert json.loads(error)["memory_guardian"] == "cut"
    stage.begin()
    stage.read()
    stage.answer()
    assert stage.heard[-1] == RESULT and [line.data for line in stage.life.prompts] == [prompt("sound")]


def test_what_is_told_of_a_prompt_has_no_part_of_a_secret() -> None:
    """Its beginning is cut after what is secret in it was taken out."""
    secret = "-".join(("sk", "ant", "api03", "k" * 40))
    for pad in range(100, 200, 10):
        told = shown(line_of(prompt("x" * pad + f" {secret} ")))
        assert "kkk" not in told and told.startswith('{"type":"user"')
