/** The words that peers say in scenarios, and short names for what scenarios ask of a core. */
import { present } from '../../src/base/assert.ts';
import { logIndex, replicaId, term } from '../../src/base/ids.ts';
import type { PeerMessage, Vote } from '../../src/raft/index.ts';
import type { Progress } from '../../src/raft/progress.ts';
import { CoreDriver, lifeOf, wordOf, type CoreStart } from '../raft/core-driver.ts';

/** The vote for replica `number`, as a disk holds it. */
export function voteFor(number: number): Vote {
  return { replicaId: replicaId(number), incarnation: lifeOf(number) };
}

/** A vote request of replica `number`; its log is empty unless told. */
export function voteRequest(
  number: number,
  asked: { readonly term: number; readonly lastIndex?: number; readonly lastTerm?: number },
): PeerMessage {
  return wordOf(number, {
    kind: 'voteRequest',
    term: term(asked.term),
    lastIndex: logIndex(asked.lastIndex ?? 0),
    lastTerm: term(asked.lastTerm ?? 0),
    isTransfer: false,
  });
}

/** A pre-vote request of replica `number` for the term that it would campaign in. */
export function preVoteRequest(
  number: number,
  asked: { readonly term: number; readonly lastIndex?: number; readonly lastTerm?: number },
): PeerMessage {
  return wordOf(number, {
    kind: 'preVoteRequest',
    term: term(asked.term),
    lastIndex: logIndex(asked.lastIndex ?? 0),
    lastTerm: term(asked.lastTerm ?? 0),
    leaderUnreachable: false,
  });
}

/** An answer to a vote request. */
export function voteResponse(
  number: number,
  answer: { readonly term: number; readonly voteGranted: boolean },
): PeerMessage {
  return wordOf(number, {
    kind: 'voteResponse',
    term: term(answer.term),
    voteGranted: answer.voteGranted,
  });
}

/** An answer to a pre-vote request. */
export function preVoteResponse(
  number: number,
  answer: { readonly term: number; readonly voteGranted: boolean },
): PeerMessage {
  return wordOf(number, {
    kind: 'preVoteResponse',
    highRtt: false,
    term: term(answer.term),
    voteGranted: answer.voteGranted,
  });
}

/** A heartbeat of leader `number`. */
export function heartbeat(
  number: number,
  beat: { readonly term: number; readonly commit?: number; readonly round?: number },
): PeerMessage {
  return wordOf(number, {
    kind: 'heartbeat',
    mayHibernate: false,
    lease: false,
    term: term(beat.term),
    round: beat.round ?? 1,
    commit: logIndex(beat.commit ?? 0),
  });
}

/** A refusal of an append by replica `number`, whose log is too short for it unless a term is named. */
export function appendRejected(
  number: number,
  refusal: {
    readonly term: number;
    readonly rejectedPrevIndex: number;
    readonly lastIndex: number;
    readonly conflictTerm?: number;
    readonly conflictFirstIndex?: number;
  },
): PeerMessage {
  return wordOf(number, {
    kind: 'appendRejected',
    term: term(refusal.term),
    rejectedPrevIndex: logIndex(refusal.rejectedPrevIndex),
    lastIndex: logIndex(refusal.lastIndex),
    conflictTerm: term(refusal.conflictTerm ?? 0),
    conflictFirstIndex: logIndex(refusal.conflictFirstIndex ?? refusal.lastIndex + 1),
    ledgerSeq: 1,
  });
}

/** Replica 1 leading with the help of replica 2; its no-op is on its own disk and nowhere else. */
export function leaderOf(options: CoreStart = {}): CoreDriver {
  const driver = new CoreDriver(options);
  driver.win();
  driver.sync();
  return driver;
}

/** What leader `driver` knows of follower `number`. */
export function progressOf(driver: CoreDriver, number: number): Progress {
  const row = driver.state.leader?.progress.find(
    ({ member }) => Number(member.replicaId) === number,
  );
  return present(row, 'a follower of this leader');
}
