/** One question for a part of a snapshot at a time: asked, waited for, asked again when the way was cut meanwhile. */
import type { LogIndex, NodeId, PartitionId, Term } from '../base/ids.ts';
import type { Member } from '../base/membership.ts';
import type { Clock } from '../ports/clock.ts';
import type { RaftState } from '../raft/index.ts';
import type { PeerLinks } from './peer-links.ts';
import type { SnapshotResponse } from './snapshot-server.ts';

/** What is asked for. */
export interface SnapshotQuestion {
  readonly minIndex: LogIndex;
  /** The snapshot; both 0 for the newest one. */
  readonly baseIndex: LogIndex;
  readonly baseTerm: Term;
  /** 0 for the manifest. */
  readonly part: number;
}

/** What asking needs. */
export interface SnapshotAskerOptions {
  readonly partitionId: PartitionId;
  readonly state: RaftState;
  readonly links: PeerLinks;
  readonly clock: Clock;
}

interface Asked {
  readonly member: Member;
  readonly question: SnapshotQuestion;
  readonly resolve: (response: SnapshotResponse | undefined) => void;
  /** Answers to what was asked before are of no use. */
  sequence: number;
}

/** See the file comment. */
export class SnapshotAsker {
  readonly #options: SnapshotAskerOptions;
  #sequence = 0;
  #asked: Asked | undefined;
  #wake: (() => void) | undefined;
  #isClosed = false;

  constructor(options: SnapshotAskerOptions) {
    this.#options = options;
  }

  /** Asks a member; `undefined` when no answer came in time, or everything was closed. Not while another question is open. */
  async ask(
    member: Member,
    question: SnapshotQuestion,
    waitMs: number,
  ): Promise<SnapshotResponse | undefined> {
    if (this.#isClosed) return undefined;
    const answer = new Promise<SnapshotResponse | undefined>((resolve) => {
      this.#asked = { member, question, resolve, sequence: 0 };
    });
    this.#send();
    const cancelTimer = this.#options.clock.setTimer(waitMs, () => this.#answer(undefined));
    const response = await answer;
    cancelTimer();
    return response;
  }

  /** Lets time pass; ends early when everything is closed. */
  async pause(delayMs: number): Promise<void> {
    if (this.#isClosed) return;
    const { clock } = this.#options;
    let cancelTimer: (() => void) | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      cancelTimer = clock.setTimer(delayMs, resolve);
    });
    cancelTimer?.();
    this.#wake = undefined;
  }

  /** A peer answered; what was not asked for, or not of whom was asked, is not heard. */
  answered(response: SnapshotResponse): void {
    const asked = this.#asked;
    if (asked?.sequence !== response.sequence) return;
    const { replicaId, incarnation } = asked.member;
    if (response.fromReplica !== replicaId || response.fromIncarnation !== incarnation) return;
    this.#answer(response);
  }

  /** The way to a node is there again: what was asked there may have been lost with the old one. */
  peerConnected(nodeId: NodeId): void {
    if (this.#asked?.member.nodeId === nodeId) this.#send();
  }

  /** Who waits gets no answer, and nothing is asked any more. */
  close(): void {
    this.#isClosed = true;
    this.#answer(undefined);
    this.#wake?.();
  }

  #send(): void {
    const asked = this.#asked;
    if (asked === undefined) return;
    const { partitionId, state, links } = this.#options;
    const { member, question } = asked;
    asked.sequence = ++this.#sequence;
    links.get(member.nodeId)?.send({
      kind: 'snapshotRequest',
      partitionId,
      toIncarnation: member.incarnation,
      fromReplica: state.selfReplica,
      fromIncarnation: state.selfIncarnation,
      sequence: asked.sequence,
      ...question,
    });
  }

  #answer(response: SnapshotResponse | undefined): void {
    const asked = this.#asked;
    this.#asked = undefined;
    asked?.resolve(response);
  }
}
