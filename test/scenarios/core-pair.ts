/**
 * A leader and one follower, each a core with a disk of its own, that speak by hand: one message, one answer.
 *
 * Nothing is delivered but by {@link CorePair.exchange}, so a scenario counts round trips exactly. Other followers of the
 * leader stay silent.
 */
import { assert, present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import { termAt, type Effect, type PeerMessage } from '../../src/raft/index.ts';
import { appendOf, CoreDriver, effectsOf, type CoreStart } from '../raft/core-driver.ts';
import { preVoteResponse, progressOf, voteResponse } from './scenario-words.ts';

/** What one exchange showed. */
export interface Exchange {
  /** Appends that reached the follower: previous index, and how many entries each brought. */
  readonly appends: readonly { readonly prevIndex: number; readonly entries: number }[];
  /** Kinds of the follower's answers. */
  readonly answers: readonly PeerMessage['kind'][];
  /** Where the follower's log was cut, if it was. */
  readonly truncatedFrom: readonly number[];
}

/** See the file comment. */
export class CorePair {
  readonly leader: CoreDriver;
  follower: CoreDriver;
  readonly #followerNumber: number;
  #toFollower: PeerMessage[] = [];

  /** Replica 1 wins with the votes of `voters`; what it says when it has won is on its way. */
  constructor(options: {
    readonly leader: CoreStart;
    readonly follower: CoreStart & { readonly self: number };
    readonly voters: readonly number[];
  }) {
    this.leader = new CoreDriver(options.leader);
    this.follower = new CoreDriver(options.follower);
    this.#followerNumber = options.follower.self;
    const inTerm = this.leader.state.term + 1;
    this.leader.tickToDeadline();
    for (const number of options.voters)
      this.leader.receive(preVoteResponse(number, { term: inTerm, voteGranted: true }));
    this.leader.sync();
    for (const number of options.voters)
      this.#post(this.leader.receive(voteResponse(number, { term: inTerm, voteGranted: true })));
    this.#post(this.leader.sync());
    assert(this.leader.state.role === 'leader', 'the voters are a majority');
  }

  /** Index up to which the leader knows the follower to match. */
  get matchIndex(): number {
    return progressOf(this.leader, this.#followerNumber).matchIndex;
  }

  /** Whether nothing is on its way to the follower. */
  get isQuiet(): boolean {
    return this.#toFollower.length === 0;
  }

  /** Lets the leader do something; what it says is on its way. */
  lead(act: (leader: CoreDriver) => readonly Effect[]): void {
    this.#post(act(this.leader));
  }

  /** The follower begins anew, with what its disk holds now; what was on its way is lost. */
  restartFollower(start: CoreStart): this {
    this.follower = new CoreDriver(start);
    this.lose();
    return this;
  }

  /** What is on its way is lost. */
  lose(): void {
    this.#toFollower = [];
  }

  /** One round trip: everything on its way arrives, the follower syncs, its answers arrive. */
  exchange(): Exchange {
    const messages = this.#toFollower;
    this.#toFollower = [];
    const effects = messages.flatMap((message) => [
      ...this.follower.receive(message),
      ...this.follower.sync(),
    ]);
    const answers = effectsOf(effects, 'sendMessage').map(({ message }) => message as PeerMessage);
    for (const answer of answers) this.#post(this.leader.receive(answer));
    return {
      appends: messages.flatMap((message) =>
        message.kind === 'appendEntries'
          ? [{ prevIndex: Number(message.prevIndex), entries: message.entries.count }]
          : [],
      ),
      answers: answers.map(({ kind }) => kind),
      truncatedFrom: effectsOf(effects, 'truncateLog').map(({ fromIndex }) => Number(fromIndex)),
    };
  }

  #post(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'sendAppend' && Number(effect.to.replicaId) === this.#followerNumber) {
        const terms = this.#termsOf(effect.prevIndex + 1, effect.lastIndex);
        this.#toFollower.push(appendOf(1, { ...effect, terms }));
      }
      if (
        effect.kind === 'sendMessage' &&
        effect.message.kind === 'heartbeat' &&
        Number(effect.to.replicaId) === this.#followerNumber
      )
        this.#toFollower.push(effect.message);
    }
  }

  #termsOf(first: number, last: number): number[] {
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) =>
      Number(present(termAt(this.leader.state.log, logIndex(first + at)), 'a leader has its log')),
    );
  }
}
