%% OTP's own supervisor, measured on command: a line of words on standard input, a line of integers in answer; it ends with its input.
%% Times are nanoseconds of erlang:monotonic_time. KIND is static (specifications at the start) or dynamic (simple_one_for_one).
%%
%%   release              of OTP
%%   start KIND COUNT     until all children run; the supervisor is kept
%%   stop                 the kept one, from asking it until it is gone
%%   weigh KIND COUNT     bytes of a supervisor with its idle children
%%   open NAME SIBLINGS PERIOD
%%                        keep a supervisor with so many idle children and one to crash; restarts count for PERIOD seconds
%%   kill NAME TIMES      exit(Pid, kill) to the first line of the next life, each; the first one goes before and does not count
%%   fail NAME TIMES      the child's own exit(Reason) to the first line of the next life, likewise
%%   close NAME           stop that supervisor
%%   port NAME PATH WORD  keep a supervisor whose child runs that program through a port, and crashes when it ends
%%   relapse TIMES        one child that crashes as soon as it is up, so many times
-module(otp_supervisor).
-behaviour(supervisor).
-export([start/0, init/1, idle/0, idle_life/1, crasher/1, crasher_life/2, relapsing/3, relapsing_life/4,
         port/2, port_life/3]).

start() ->
    spawn(fun() ->
        process_flag(trap_exit, true),
        logger:set_primary_config(level, none),
        try serve(#{}) catch Class:Reason:Trace ->
            io:format(standard_error, "~p~n", [{Class, Reason, Trace}]),
            halt(1)
        end
    end).

serve(Kept) ->
    case io:get_line("") of
        eof -> halt(0);
        Line ->
            [Verb | Rest] = string:lexemes(Line, " \n"),
            {Answer, Next} = answer(list_to_atom(Verb), [word(Word) || Word <- Rest], Kept),
            io:put_chars([lists:join(" ", [integer_to_list(Number) || Number <- Answer]), "\n"]),
            serve(Next)
    end.

word(Word) ->
    try list_to_integer(Word) catch error:badarg -> list_to_atom(Word) end.

answer(release, [], Kept) -> {[list_to_integer(erlang:system_info(otp_release))], Kept};
answer(start, [Kind, Count], Kept) ->
    Specs = specs(Kind, Count),
    erlang:garbage_collect(),
    Began = now_ns(),
    Sup = up(Kind, Count, Specs),
    {[now_ns() - Began], Kept#{kept => Sup}};
answer(stop, [], Kept) ->
    #{kept := Sup} = Kept,
    Began = now_ns(),
    down(Sup),
    {[now_ns() - Began], maps:remove(kept, Kept)};
answer(weigh, [Kind, Count], Kept) ->
    Before = weight(),
    Sup = up(Kind, Count, specs(Kind, Count)),
    After = weight(),
    down(Sup),
    {[After - Before], Kept};
answer(open, [Name, Siblings, Period], Kept) ->
    Crasher = spec(crasher, {?MODULE, crasher, [self()]}),
    {ok, Sup} = supervisor:start_link(?MODULE, {flags(one_for_one, Period), specs(static, Siblings) ++ [Crasher]}),
    {Pid, _} = risen(),
    {[], Kept#{Name => {Sup, Pid}}};
answer(port, [Name, Path, Word], Kept) ->
    Spec = spec(port, {?MODULE, port, [atom_to_list(Path), atom_to_list(Word)]}),
    {ok, Sup} = supervisor:start_link(?MODULE, {flags(one_for_one, 5), [Spec]}),
    {[], Kept#{Name => {Sup, none}}};
answer(close, [Name], Kept) ->
    #{Name := {Sup, _}} = Kept,
    down(Sup),
    {[], maps:remove(Name, Kept)};
answer(Crash, [Name, Times], Kept) when Crash =:= kill; Crash =:= fail ->
    #{Name := {Sup, Pid}} = Kept,
    {Last, [_ | Samples]} = crashes(Crash, Pid, Times + 1, []),
    {Samples, Kept#{Name => {Sup, Last}}};
answer(relapse, [Times], Kept) ->
    Spec = spec(relapsing, {?MODULE, relapsing, [self(), counters:new(1, []), Times]}),
    Began = now_ns(),
    {ok, Sup} = supervisor:start_link(?MODULE, {flags(one_for_one, 3600), [Spec]}),
    Taken = receive {recovered, At} -> At - Began end,
    down(Sup),
    {[Taken], Kept}.

crashes(_, Pid, 0, Samples) -> {Pid, lists:reverse(Samples)};
crashes(kill, Pid, Times, Samples) ->
    Killed = now_ns(),
    exit(Pid, kill),
    {Next, Began} = risen(),
    crashes(kill, Next, Times - 1, [Began - Killed | Samples]);
crashes(fail, Pid, Times, Samples) ->
    Pid ! fail,
    {Next, Began} = risen(),
    Failed = receive {failed, Pid, At} -> At end,
    crashes(fail, Next, Times - 1, [Began - Failed | Samples]).

%% A new life, when its start has been acknowledged.
risen() ->
    receive {began, Pid, At} -> receive {acknowledged, Pid} -> {Pid, At} end end.

up(static, _, Specs) ->
    {ok, Sup} = supervisor:start_link(?MODULE, {flags(one_for_one, 5), Specs}),
    Sup;
up(dynamic, Count, Specs) ->
    {ok, Sup} = supervisor:start_link(?MODULE, {flags(simple_one_for_one, 5), Specs}),
    [{ok, _} = supervisor:start_child(Sup, []) || _ <- lists:seq(1, Count)],
    Sup.

down(Sup) ->
    exit(Sup, shutdown),
    receive {'EXIT', Sup, _} -> ok end.

%% Before OTP 26 each restart walks through all that are still within the period.
flags(Strategy, Period) -> #{strategy => Strategy, intensity => 1000000000, period => Period}.

specs(static, Count) -> [spec(Place, {?MODULE, idle, []}) || Place <- lists:seq(1, Count)];
specs(dynamic, _) -> [spec(idle, {?MODULE, idle, []})].

spec(Id, Start) -> #{id => Id, start => Start, restart => permanent, shutdown => 5000}.

init(Arguments) -> {ok, Arguments}.

idle() -> proc_lib:start_link(?MODULE, idle_life, [self()]).

idle_life(Sup) ->
    proc_lib:init_ack(Sup, {ok, self()}),
    receive never -> ok end.

crasher(Driver) -> proc_lib:start_link(?MODULE, crasher_life, [self(), Driver]).

crasher_life(Sup, Driver) ->
    Driver ! {began, self(), now_ns()},
    proc_lib:init_ack(Sup, {ok, self()}),
    Driver ! {acknowledged, self()},
    receive fail -> ok end,
    Failed = now_ns(),
    Driver ! {failed, self(), Failed},
    exit(told_to).

port(Path, Word) -> proc_lib:start_link(?MODULE, port_life, [self(), Path, Word]).

port_life(Sup, Path, Word) ->
    Port = open_port({spawn_executable, Path}, [{args, [Word]}, exit_status]),
    proc_lib:init_ack(Sup, {ok, self()}),
    receive {Port, {exit_status, Status}} -> exit({ended, Status}) end.

relapsing(Driver, Lives, Times) -> proc_lib:start_link(?MODULE, relapsing_life, [self(), Driver, Lives, Times]).

relapsing_life(Sup, Driver, Lives, Times) ->
    proc_lib:init_ack(Sup, {ok, self()}),
    case counters:get(Lives, 1) of
        Times ->
            Driver ! {recovered, now_ns()},
            receive never -> ok end;
        Lived ->
            counters:put(Lives, 1, Lived + 1),
            exit(relapsed)
    end.

%% the processes' own sizes: the node's total still shrinks by what ended before, when the schedulers come to it
weight() ->
    [erlang:garbage_collect(Process) || Process <- processes()],
    lists:sum([Bytes || Process <- processes(), {memory, Bytes} <- [process_info(Process, memory)]]).

now_ns() -> erlang:monotonic_time(nanosecond).
