/**
 * Requests that arrive over the data path: appends, reads, read indexes of other nodes, descriptions.
 *
 * Every request is answered: with results, or with a code that says what is known of its effect. A request meant for a
 * leader and arriving elsewhere is answered at once with the leader's name; clients find leaders, followers do not relay.
 */
import {
  errorCodeOfWireNumber,
  wireNumberOf,
  type ErrorCode,
  type Outcome,
} from '../base/error-codes.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import { judgeAccess, type AccessAction } from '../policy/access.ts';
import type { Proposal, ProposalReceipt, ProposalSink } from './proposals.ts';
import type { Replica } from './replica.ts';
import type { TurnScheduler, TurnWork } from './turn.ts';
import type { Message, WireSession } from './wire-session.ts';

/** A request message of the data path. */
export type ClientRequest = Extract<
  Message,
  { readonly kind: 'appendRequest' | 'readIndexRequest' | 'readRequest' | 'describeRequest' }
>;

type AppendResult = Extract<Message, { readonly kind: 'appendResponse' }>['results'][number];

/** What requests need from the node. */
export interface ClientRequestOptions {
  readonly turn: TurnScheduler;
  readonly replicaOf: (partitionId: string) => Replica | undefined;
  readonly describe: (requestId: number) => Message;
}

const noBytes = new Uint8Array(0);
const noTerm = 0 as Term;
const noIndex = 0 as LogIndex;

/** Collects the results of one append request and answers in as few frames as turns. */
class AppendResponder implements ProposalSink, TurnWork {
  readonly #session: WireSession;
  readonly #request: Extract<Message, { readonly kind: 'appendRequest' }>;
  readonly #turn: TurnScheduler;
  #results: AppendResult[] = [];
  #isMarked = false;

  constructor(
    session: WireSession,
    request: Extract<Message, { readonly kind: 'appendRequest' }>,
    turn: TurnScheduler,
  ) {
    this.#session = session;
    this.#request = request;
    this.#turn = turn;
  }

  proposalCommitted(slot: number, receipt: ProposalReceipt): void {
    this.#results.push({
      position: slot,
      errorCode: 0,
      outcome: 'committed',
      term: receipt.term,
      index: receipt.index,
      detail: 0,
      result: receipt.result ?? noBytes,
    });
    this.#mark();
  }

  proposalFailed(slot: number, error: ClustorError): void {
    this.#results.push({
      position: slot,
      errorCode: wireNumberOf(error.code),
      outcome: error.outcome,
      term: noTerm,
      index: noIndex,
      detail: detailOf(error),
      result: noBytes,
    });
    this.#mark();
  }

  endTurn(): void {
    this.#isMarked = false;
    const results = this.#results;
    if (results.length === 0) return;
    this.#results = [];
    guarded(this.#session, () => {
      this.#answer(results);
    });
  }

  #answer(results: readonly AppendResult[]): void {
    const { requestId, partitionId, toIncarnation } = this.#request;
    for (let at = 0; at < results.length;) {
      const end = responseEnd(results, at);
      const part = at === 0 && end === results.length ? results : results.slice(at, end);
      this.#session.send({
        kind: 'appendResponse',
        requestId,
        deadlineMs: 0,
        routingEpoch: 1,
        partitionId,
        toIncarnation,
        results: part,
      });
      at = end;
    }
  }

  #mark(): void {
    if (this.#isMarked) return;
    this.#isMarked = true;
    this.#turn.markLink(this);
  }
}

/** An answer to a query fills a frame, less its head. */
export const queryResultBytesMax: number = 4 * 1024 * 1024 - 4096;
/** So does a description. */
const descriptionBytesMax = queryResultBytesMax;
/** Results of one response frame stay below this, so that the frame fits every agreed maximum. */
const responseBytesMax = 1024 * 1024;

function responseEnd(results: readonly { readonly result: Uint8Array }[], start: number): number {
  let bytes = 0;
  let end = start;
  while (end < results.length && end - start < 60_000) {
    bytes += 40 + (results[end]?.result.length ?? 0);
    if (bytes > responseBytesMax && end > start) break;
    end++;
  }
  return end;
}

/** See the file comment. */
export class ClientRequests {
  readonly #options: ClientRequestOptions;

  constructor(options: ClientRequestOptions) {
    this.#options = options;
  }

  /** Handles a request; failures become coded answers. */
  handle(session: WireSession, request: ClientRequest): void {
    try {
      this.#authorize(session, request);
      if (request.kind === 'describeRequest') this.#describe(session, request.requestId);
      else this.#handlePartition(session, request, this.#replica(request));
    } catch (error) {
      if (!isClustorError(error)) throw error;
      answerError(session, request.requestId, error);
    }
  }

  #describe(session: WireSession, requestId: number): void {
    const description = this.#options.describe(requestId);
    const bytes = descriptionBytes(description);
    if (bytes > descriptionBytesMax)
      throw new ClustorError(
        'CLUSTOR_WIRE_BODY_TOO_LARGE',
        `the description of this node's partitions has ${bytes} bytes, more than ${descriptionBytesMax}`,
      );
    guarded(session, () => {
      session.send(description);
    });
  }

  #handlePartition(
    session: WireSession,
    request: Exclude<ClientRequest, { kind: 'describeRequest' }>,
    replica: Replica,
  ): void {
    if (request.kind === 'appendRequest') this.#append(session, request, replica);
    else if (request.kind === 'readRequest') read(session, request, replica);
    else readIndex(session, request, replica);
  }

  #append(
    session: WireSession,
    request: Extract<ClientRequest, { kind: 'appendRequest' }>,
    replica: Replica,
  ): void {
    if (!replica.isLeader) throw replica.askedInVain();
    const responder = new AppendResponder(session, request, this.#options.turn);
    let position = 0;
    for (const entry of request.entries) {
      const refusal = replica.offer(proposalOf(entry, responder, position));
      if (refusal !== undefined) responder.proposalFailed(position, refusal);
      position++;
    }
  }

  #replica(request: Exclude<ClientRequest, { kind: 'describeRequest' }>): Replica {
    const replica = this.#options.replicaOf(request.partitionId);
    if (replica === undefined)
      throw new ClustorError(
        'CLUSTOR_UNKNOWN_PARTITION',
        `this node hosts no replica of partition ${request.partitionId}`,
      );
    if (request.routingEpoch !== 1)
      throw new ClustorError(
        'CLUSTOR_ROUTING_EPOCH_MISMATCH',
        `routing epoch ${request.routingEpoch} was observed, 1 is expected`,
      );
    return replica;
  }

  #authorize(session: WireSession, request: ClientRequest): void {
    const verdict = judgeAccess(session.role, actionOf(request.kind));
    if (verdict.kind === 'denied')
      throw new ClustorError('CLUSTOR_PERMISSION_DENIED', verdict.reason);
  }
}

function proposalOf(
  entry: { readonly metadata: Uint8Array; readonly payload: Uint8Array },
  sink: ProposalSink,
  slot: number,
): Proposal {
  return { metadata: entry.metadata, payload: entry.payload, sink, slot };
}

function actionOf(kind: ClientRequest['kind']): AccessAction {
  if (kind === 'appendRequest') return 'append';
  if (kind === 'describeRequest') return 'describe';
  return kind === 'readIndexRequest' ? 'peerMessage' : 'read';
}

function readIndex(
  session: WireSession,
  request: Extract<ClientRequest, { kind: 'readIndexRequest' }>,
  replica: Replica,
): void {
  const { requestId, partitionId, toIncarnation } = request;
  const refusal = replica.requestRead({
    needsRound: false,
    confirmed: (index) => {
      session.send({
        kind: 'readIndexResponse',
        requestId,
        deadlineMs: 0,
        routingEpoch: 1,
        partitionId,
        toIncarnation,
        term: replica.state.term,
        index,
      });
    },
    failed: (error) => {
      answerError(session, requestId, error);
    },
  });
  if (refusal !== undefined) throw refusal;
}

function read(
  session: WireSession,
  request: Extract<ClientRequest, { kind: 'readRequest' }>,
  replica: Replica,
): void {
  const forbidden = replica.gate.refusal('mayRead');
  if (forbidden !== undefined) throw forbidden;
  if (request.consistency === 'snapshotOnly') {
    guarded(session, () => {
      serve(session, request, replica);
    });
    return;
  }
  const failed = (error: ClustorError): void => {
    answerError(session, request.requestId, error);
  };
  const ask = (needsRound: boolean): ClustorError | undefined =>
    replica.requestRead({
      needsRound,
      confirmed: (index, byLease) => {
        const answer = (): void => {
          if (!byLease || replica.holdsLease()) {
            serve(session, request, replica);
            return;
          }
          // The process may have stood still, or apply taken its time: the lease must hold now (specification §2.3).
          const refused = ask(true);
          if (refused !== undefined) failed(refused);
        };
        // Called while entries are applied, where a throw would count as a failure to apply.
        const applied = (): void => {
          guarded(session, answer);
        };
        replica.reads.whenApplied(index, { applied, failed });
      },
      failed,
    });
  const refusal = ask(false);
  if (refusal !== undefined) throw refusal;
}

function serve(
  session: WireSession,
  request: Extract<ClientRequest, { kind: 'readRequest' }>,
  replica: Replica,
): void {
  const { requestId, partitionId, toIncarnation, consistency } = request;
  try {
    // A quarantine may have begun while the read waited.
    const forbidden = replica.gate.refusal('mayRead');
    if (forbidden !== undefined) throw forbidden;
    const result = bytesOfQuery(replica.machine.query(request.query));
    if (result.length > queryResultBytesMax)
      throw new ClustorError(
        'CLUSTOR_RESULT_TOO_LARGE',
        `the state machine's answer has ${result.length} bytes, more than ${queryResultBytesMax}`,
        { outcome: 'surelyNot' },
      );
    session.send({
      kind: 'readResponse',
      requestId,
      deadlineMs: 0,
      routingEpoch: 1,
      partitionId,
      toIncarnation,
      appliedIndex: replica.apply.appliedIndex,
      consistency,
      result,
    });
  } catch (error) {
    const refusal = isClustorError(error)
      ? error
      : new ClustorError(
          'CLUSTOR_INVALID_ARGUMENT',
          `the state machine refused the query: ${messageOf(error)}`,
          { cause: error },
        );
    answerError(session, requestId, refusal);
  }
}

/** What a query returned, if it is what the port says. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
function bytesOfQuery(returned: unknown): Uint8Array {
  if (returned instanceof Uint8Array) return returned;
  let what = returned === null ? 'null' : `a value of type ${typeof returned}`;
  if (returned === undefined) what = 'undefined';
  if (returned instanceof Promise) {
    what = 'a promise';
    // Nobody waits for it, and a rejection that nobody takes ends the process.
    returned.catch(() => undefined);
  }
  throw new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `the state machine's query returned ${what}, not bytes`,
  );
}

/** What a description takes in a frame; addresses are ASCII. */
function descriptionBytes(description: Message): number {
  if (description.kind !== 'describeResponse') return 0;
  let bytes = 0;
  for (const { leaderAddress, members } of description.partitions) {
    bytes += 47 + leaderAddress.length;
    for (const { address } of members) bytes += 12 + address.length;
  }
  return bytes;
}

/** Runs what must not throw into its caller: a failure ends the session, and nothing else. */
function guarded(session: WireSession, act: () => void): void {
  try {
    act();
  } catch (error) {
    try {
      session.goodbye('CLUSTOR_INTERNAL', `an answer cannot be sent: ${messageOf(error)}`);
    } catch {
      // A frame may stand half written where the word would go.
    }
    session.destroy();
  }
}

/** Answers a request with a code. */
export function answerError(session: WireSession, requestId: number, error: ClustorError): void {
  const message = error.message.slice(0, 512);
  session.send({
    kind: 'errorResponse',
    requestId,
    deadlineMs: 0,
    routingEpoch: 1,
    errorCode: wireNumberOf(error.code),
    outcome: error.outcome,
    detail: detailOf(error),
    message,
  });
}

const detailNames: Partial<Record<ErrorCode, string>> = {
  CLUSTOR_NOT_LEADER: 'leaderNodeId',
  CLUSTOR_IDEMPOTENCY_INDEX_NEEDED: 'commitIndex',
};

/** The one number that goes with a code on the wire: the leader's node, or the commit index. */
function detailOf(error: ClustorError): number {
  const { leaderNodeId, commitIndex } = error.details;
  if (typeof leaderNodeId === 'number') return leaderNodeId;
  return typeof commitIndex === 'number' ? commitIndex : 0;
}

/** The refusal of an entry as an error again, with its number under the name that belongs to the code. */
export function answeredError(answer: {
  readonly errorCode: number;
  readonly outcome: Outcome;
  readonly detail: number;
}): ClustorError {
  const { outcome, detail } = answer;
  const code = errorCodeOfWireNumber(answer.errorCode);
  const nameOfDetail = detailNames[code];
  const details = nameOfDetail === undefined ? {} : { [nameOfDetail]: detail };
  return new ClustorError(code, 'the leader refused the append', { outcome, details });
}
