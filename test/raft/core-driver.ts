/** One core with a disk that the test drives by hand, and the words of its peers. */
import { present } from '../../src/base/assert.ts';
import {
  incarnation,
  logIndex,
  nodeId,
  replicaId,
  term,
  type Incarnation,
  type LogIndex,
} from '../../src/base/ids.ts';
import type { Configuration, Member, MemberRole } from '../../src/base/membership.ts';
import {
  checkRaftState,
  checkRaftTransition,
  cloneRaftState,
  createRaftState,
  defaultRaftSettings,
  start,
  step,
  termAt,
  tickMs,
  type Effect,
  type Input,
  type LogMeasure,
  type PeerMessage,
  type RaftSettings,
  type RaftState,
  type Vote,
} from '../../src/raft/index.ts';

/** Every entry has ten bytes and any number of them fits. */
export const tenBytesEach: LogMeasure = {
  fit: (_first, lastIndexMax) => lastIndexMax,
  bytes: (first, last) => (last - first + 1) * 10,
};

/** The life of replica `number`; `life` tells later ones apart. */
export function lifeOf(number: number, life = 0): Incarnation {
  const tail = (life * 256 + number).toString(16).padStart(12, '0');
  return incarnation(`018f0000-0000-7000-8000-${tail}`);
}

/** Replica `number` on the node of the same number. */
export function member(number: number, role: MemberRole = 'voter'): Member {
  return {
    replicaId: replicaId(number),
    nodeId: nodeId(number),
    incarnation: lifeOf(number),
    role,
    addresses: [],
  };
}

/** The configuration that `init` wrote; with outgoing members a joint one. */
export function configurationOf(
  members: readonly Member[],
  outgoingMembers: readonly Member[] = [],
): Configuration {
  return { term: term(0), index: logIndex(0), members, outgoingMembers };
}

/** Three voters. */
export const threeVoters: Configuration = configurationOf([member(1), member(2), member(3)]);

/** Terms of a log behind `baseIndex`, as runs. */
export function runsOf(
  terms: readonly number[],
  baseIndex = 0,
): { readonly firstIndex: LogIndex; readonly term: ReturnType<typeof term> }[] {
  return terms.flatMap((value, position) =>
    terms[position - 1] === value
      ? []
      : [{ firstIndex: logIndex(baseIndex + position + 1), term: term(value) }],
  );
}

/** How a core starts; what is left out is a fresh replica 1 of {@link threeVoters}. */
export interface CoreStart {
  readonly self?: number;
  readonly life?: number;
  readonly configuration?: Configuration;
  readonly configurations?: readonly Configuration[];
  readonly term?: number;
  readonly votedFor?: Vote;
  /** What a snapshot stands for; nothing unless told. */
  readonly base?: { readonly index: number; readonly term: number };
  /** Term of each entry behind the base, from index 1 on where there is none. */
  readonly log?: readonly number[];
  readonly recordedCommitIndex?: number;
  readonly inDoubt?: boolean;
  readonly isQuarantined?: boolean;
  readonly isHeld?: boolean;
  readonly seed?: number;
  readonly ledgerSeq?: number;
  readonly now?: number;
  readonly settings?: Partial<RaftSettings>;
  /** It began this very moment and withholds its vote; else it began long enough ago. */
  readonly isJustStarted?: boolean;
}

/** A started core. */
export function createCore(options: CoreStart = {}): RaftState {
  const self = options.self ?? 1;
  const log = options.log ?? [];
  const base = options.base ?? { index: 0, term: 0 };
  const now = options.now ?? 0;
  const settings = { ...defaultRaftSettings, ...options.settings };
  const state = createRaftState({
    selfNode: nodeId(self),
    selfReplica: replicaId(self),
    selfIncarnation: lifeOf(self, options.life),
    settings,
    term: term(options.term ?? log.at(-1) ?? base.term),
    votedFor: options.votedFor,
    baseIndex: logIndex(base.index),
    baseTerm: term(base.term),
    termRuns: runsOf(log, base.index),
    lastIndex: logIndex(base.index + log.length),
    recordedCommitIndex: logIndex(options.recordedCommitIndex ?? base.index),
    configurations: options.configurations ?? [options.configuration ?? threeVoters],
    ledgerSeq: options.ledgerSeq ?? 0,
    inDoubt: options.inDoubt ?? false,
    isQuarantined: options.isQuarantined ?? false,
    isHeld: options.isHeld ?? false,
    now:
      options.now ??
      (options.isJustStarted === true ? now : now - settings.electionTimeoutTicksMin),
    seed: options.seed ?? 1,
  });
  state.now = now;
  start(state);
  checkRaftState(state);
  return state;
}

/** A step with all checks of invariants; returns the effects. */
export function checkedStep(
  state: RaftState,
  input: Input,
  context: { readonly now: number; readonly log: LogMeasure; readonly clockMs?: number },
): Effect[] {
  const before = cloneRaftState(state);
  const effects: Effect[] = [];
  step(state, input, { clockMs: context.now * tickMs, ...context, effects });
  checkRaftState(state);
  checkRaftTransition(before, state);
  return effects;
}

type Payload<M> = M extends PeerMessage
  ? Omit<M, 'fromNode' | 'fromReplica' | 'fromIncarnation'>
  : never;

/** A message of replica `number`, in its configured life unless another one is given. */
export function wordOf(number: number, payload: Payload<PeerMessage>, life = 0): PeerMessage {
  return {
    fromNode: nodeId(number),
    fromReplica: replicaId(number),
    fromIncarnation: lifeOf(number, life),
    ...payload,
  };
}

/** An append of leader `number` that brings entries of `terms` behind (prevIndex, prevTerm). */
export function appendOf(
  number: number,
  append: {
    readonly term: number;
    readonly prevIndex: number;
    readonly prevTerm: number;
    readonly terms?: readonly number[];
    readonly commit?: number;
    readonly receiverInDoubt?: boolean;
    readonly needsSnapshot?: boolean;
    readonly configurations?: readonly Configuration[];
  },
): PeerMessage {
  const terms = append.terms ?? [];
  const termRuns = terms.flatMap((value, position) =>
    terms[position - 1] === value ? [] : [append.prevIndex + 1 + position, value],
  );
  return wordOf(number, {
    kind: 'appendEntries',
    term: term(append.term),
    prevIndex: logIndex(append.prevIndex),
    prevTerm: term(append.prevTerm),
    commit: logIndex(append.commit ?? 0),
    receiverInDoubt: append.receiverInDoubt ?? false,
    needsSnapshot: append.needsSnapshot ?? false,
    entries: { count: terms.length, termRuns, configurations: append.configurations ?? [] },
  });
}

type EffectOf<Kind extends Effect['kind']> = Extract<Effect, { readonly kind: Kind }>;

/** Effects of one kind. */
export function effectsOf<Kind extends Effect['kind']>(
  effects: readonly Effect[],
  kind: Kind,
): EffectOf<Kind>[] {
  return effects.filter((effect): effect is EffectOf<Kind> => effect.kind === kind);
}

/** Messages of one kind that left. */
export function sentOf<Kind extends PeerMessage['kind']>(
  effects: readonly Effect[],
  kind: Kind,
): Extract<PeerMessage, { readonly kind: Kind }>[] {
  return effectsOf(effects, 'sendMessage')
    .map(({ message }) => message as PeerMessage)
    .filter(
      (message): message is Extract<PeerMessage, { readonly kind: Kind }> => message.kind === kind,
    );
}

/** A core whose storage waits until the test syncs. */
export class CoreDriver {
  readonly state: RaftState;
  /** Milliseconds that passed on the clock while the ticks stood still. */
  unseenMs = 0;
  #now: number;
  #ledgerSeq: number;
  #waiting: EffectOf<'persistHardState' | 'appendToLog'>[] = [];

  constructor(options: CoreStart = {}) {
    this.state = createCore(options);
    this.#now = this.state.now;
    this.#ledgerSeq = this.state.ledgerSeq;
  }

  get now(): number {
    return this.#now;
  }

  /** Terms of the log behind its base. */
  get terms(): number[] {
    const { baseIndex, lastIndex } = this.state.log;
    return Array.from({ length: lastIndex - baseIndex }, (_, position) =>
      present(termAt(this.state.log, logIndex(baseIndex + position + 1)), 'within the log'),
    );
  }

  /** What the clock shows: the time of the ticks, and as long as it has not been told to the core. */
  get clockMs(): number {
    return this.#now * tickMs + this.unseenMs;
  }

  /** One input. Its storage requests wait for {@link sync}. */
  input(input: Input): Effect[] {
    const { clockMs } = this;
    const effects = checkedStep(this.state, input, { now: this.#now, log: tenBytesEach, clockMs });
    for (const effect of effects) {
      if (effect.kind === 'persistHardState' || effect.kind === 'appendToLog')
        this.#waiting.push(effect);
    }
    return effects;
  }

  /** A message arrives. */
  receive(message: PeerMessage): Effect[] {
    return this.input({ kind: 'message', message });
  }

  /** Time passes and the core is told. */
  tick(ticks = 1): Effect[] {
    this.#now += ticks;
    return this.input({ kind: 'tick' });
  }

  /** Time passes to the election deadline. */
  tickToDeadline(): Effect[] {
    return this.tick(Math.max(0, this.state.electionDeadlineTick - this.#now));
  }

  /** Takes the oldest storage request out of the queue without completing it. */
  takeWaiting(): Input {
    const effect = present(this.#waiting.shift(), 'something waits for the disk');
    this.#ledgerSeq++;
    if (effect.kind === 'persistHardState') {
      return { kind: 'hardStateDurable', term: effect.term, votedFor: effect.votedFor };
    }
    return {
      kind: 'durable',
      appendSequence: effect.appendSequence,
      index: effect.lastIndex,
      term: effect.term,
      ledgerSeq: this.#ledgerSeq,
    };
  }

  /** The disk completes everything that waits, also what completions ask for. */
  sync(): Effect[] {
    const effects: Effect[] = [];
    while (this.#waiting.length > 0) effects.push(...this.input(this.takeWaiting()));
    return effects;
  }

  /** Wins an election with the help of replica `helper`; the no-op still waits for the disk. */
  win(helper = 2): Effect[] {
    this.tickToDeadline();
    if (this.state.role === 'preCandidate') {
      this.receive(
        wordOf(helper, {
          kind: 'preVoteResponse',
          highRtt: false,
          term: term(this.state.term + 1),
          voteGranted: true,
        }),
      );
    }
    this.input(this.takeWaiting());
    return this.receive(
      wordOf(helper, { kind: 'voteResponse', term: this.state.term, voteGranted: true }),
    );
  }

  /** A peer's acknowledgement. */
  acknowledge(
    number: number,
    index: number,
    word: { readonly term?: number; readonly ledgerSeq?: number; readonly life?: number } = {},
  ): Effect[] {
    return this.receive(
      wordOf(
        number,
        {
          kind: 'durabilityAck',
          term: term(word.term ?? this.state.term),
          lastFsyncedIndex: logIndex(index),
          ledgerSeq: word.ledgerSeq ?? 1,
        },
        word.life ?? 0,
      ),
    );
  }

  /** A peer's echo of a heartbeat round. */
  echo(
    number: number,
    round: number,
    word: {
      readonly inDoubt?: boolean;
      readonly life?: number;
      readonly clockAlarm?: boolean;
      readonly electionTimeoutMsMin?: number;
    } = {},
  ): Effect[] {
    return this.receive(
      wordOf(
        number,
        {
          kind: 'heartbeatEcho',
          term: this.state.term,
          round,
          inDoubt: word.inDoubt ?? false,
          isHibernating: false,
          needsLeader: false,
          clockAlarm: word.clockAlarm ?? false,
          electionTimeoutMsMin: word.electionTimeoutMsMin ?? 300,
        },
        word.life ?? 0,
      ),
    );
  }
}
