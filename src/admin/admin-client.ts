/** Asks the admin service of one node, over whatever transport it is given. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type Client, type Transport } from '@connectrpc/connect';

import { present } from '../base/assert.ts';
import { errorCodes, type ErrorCode, type Outcome } from '../base/error-codes.ts';
import { ClustorError } from '../base/errors.ts';
import {
  AdminService,
  type ClearQuarantineRequestSchema,
  type SetQuarantineRequestSchema,
  type AddMemberRequestSchema,
  type ChangeVotersRequestSchema,
  type Durability,
  type EvidenceResponse,
  type GatherEvidenceRequestSchema,
  type GetDurabilityRequestSchema,
  type KeysResponse,
  type MembershipResponse,
  type Partition,
  type PlanVotersResponse,
  type RollBackMembershipRequestSchema,
  type ScrubResponse,
  type SetDurabilityRequestSchema,
  type TakeSnapshotRequestSchema,
  type TakeSnapshotResponse,
  type TransferLeadershipRequestSchema,
  type TransferLeadershipResponse,
} from './generated/clustor/admin/v1/admin_pb.ts';
import type { AdminNodeStatus } from './generated/node-status.ts';
import type { WhyAnswer, WhyKind } from './why.ts';

/** 64-bit numbers as numbers, the message's own marks left out. */
export type Plain<T> = T extends bigint
  ? number
  : T extends readonly (infer Item)[]
    ? Plain<Item>[]
    : T extends object
      ? { [Key in Exclude<keyof T, `$${string}`>]: Plain<T[Key]> }
      : T;

/** The way to a node. */
export interface AdminChannel {
  readonly transport: Transport;
  /** `host:port`, for messages. */
  readonly endpoint: string;
  refusalOf(error: unknown): ClustorError | undefined;
  close(): void;
}

/**
 * The admin service of one node. Every call fails with a ClustorError: the node's own one, one of security when the node
 * is not who it should be, `CLUSTOR_DEADLINE_EXCEEDED` after 5 s or what a change may take, `CLUSTOR_CLOSED` after `close`,
 * otherwise `CLUSTOR_NO_LEADER` for a node that cannot be reached. A call that only looks has the outcome `surelyNot`; one that
 * changes something and has no answer has the outcome `unknown`, unless its request surely never left.
 */
export interface AdminClient {
  getStatus(): Promise<AdminNodeStatus>;
  listPartitions(): Promise<readonly Plain<Partition>[]>;
  getPartition(partitionId: string): Promise<Plain<Partition>>;
  why(partitionId: string, kind: WhyKind): Promise<WhyAnswer>;
  addMember(
    request: MessageInitShape<typeof AddMemberRequestSchema>,
  ): Promise<Plain<MembershipResponse>>;
  planVoters(
    request: MessageInitShape<typeof ChangeVotersRequestSchema>,
  ): Promise<Plain<PlanVotersResponse>>;
  changeVoters(
    request: MessageInitShape<typeof ChangeVotersRequestSchema>,
  ): Promise<Plain<MembershipResponse>>;
  rollBackMembership(
    request: MessageInitShape<typeof RollBackMembershipRequestSchema>,
  ): Promise<Plain<MembershipResponse>>;
  transferLeadership(
    request: MessageInitShape<typeof TransferLeadershipRequestSchema>,
  ): Promise<Plain<TransferLeadershipResponse>>;
  getDurability(
    request: MessageInitShape<typeof GetDurabilityRequestSchema>,
  ): Promise<Plain<Durability>>;
  setDurability(
    request: MessageInitShape<typeof SetDurabilityRequestSchema>,
  ): Promise<Plain<Durability>>;
  getKeys(): Promise<Plain<KeysResponse>>;
  rotateKeys(): Promise<Plain<KeysResponse>>;
  setQuarantine(request: MessageInitShape<typeof SetQuarantineRequestSchema>): Promise<void>;
  getScrub(): Promise<Plain<ScrubResponse>>;
  startScrub(): Promise<Plain<ScrubResponse>>;
  pauseScrub(): Promise<Plain<ScrubResponse>>;
  resumeScrub(): Promise<Plain<ScrubResponse>>;
  gatherEvidence(
    request: MessageInitShape<typeof GatherEvidenceRequestSchema>,
  ): Promise<Plain<EvidenceResponse>>;
  clearQuarantine(request: MessageInitShape<typeof ClearQuarantineRequestSchema>): Promise<void>;
  takeSnapshot(
    request: MessageInitShape<typeof TakeSnapshotRequestSchema>,
  ): Promise<Plain<TakeSnapshotResponse>>;
  close(): Promise<void>;
}

/** Milliseconds after which a call is given up. */
export const adminDeadlineMs = 5_000;
/** Milliseconds that a node waits for a change of members to end, if the request does not say. */
const changeDeadlineMs = 150_000;

/** Milliseconds that a change of keys may take: the key service is asked, and a segment made ready. */
const rotateDeadlineMs = 60_000;
/** Milliseconds that the reading of a whole journal may take. */
const evidenceDeadlineMs = 600_000;

/** Asks, and gives the answer with plain numbers. */
type Asker = <T>(
  ask: (options: { readonly timeoutMs: number }) => Promise<T>,
  timeoutMs?: number,
) => Promise<Plain<T>>;

/** The two ways to ask: for what only looks, and for what changes something. */
interface Askers {
  readonly look: Asker;
  readonly change: Asker;
}

/** Makes a client; it connects with its first call. */
export function createAdminClient(channel: AdminChannel): AdminClient {
  const client = createClient(AdminService, channel.transport);
  let isClosed = false;
  const asker =
    (isChange: boolean): Asker =>
    async (ask, timeoutMs = adminDeadlineMs) => {
      if (isClosed) throw closedError('surelyNot');
      try {
        return plain(await ask({ timeoutMs })) as Plain<Awaited<ReturnType<typeof ask>>>;
      } catch (error) {
        const attempt = { error, isChange, timeoutMs };
        throw isClosed ? closedError(outcomeOf(attempt)) : asClustorError(attempt, channel);
      }
    };
  const askers = { look: asker(false), change: asker(true) };
  const { look } = askers;
  return {
    getStatus: async () =>
      (await look((options) => client.getStatus({}, options))) as AdminNodeStatus,
    listPartitions: async () =>
      (await look((options) => client.listPartitions({}, options))).partitions,
    getPartition: async (partitionId) =>
      present(
        (await look((options) => client.getPartition({ partitionId }, options))).partition,
        'an answer names the partition',
      ),
    why: (partitionId, kind) => look((options) => client.why({ partitionId, kind }, options)),
    ...membershipCalls(client, askers),
    ...durabilityCalls(client, askers),
    ...keyCalls(client, askers),
    ...quarantineCalls(client, askers),
    ...scrubCalls(client, askers),
    gatherEvidence: (request) =>
      look((options) => client.gatherEvidence(request, options), evidenceDeadlineMs),
    takeSnapshot: (request) =>
      askers.change((options) => client.takeSnapshot(request, options), patienceMs(request)),
    close: () => {
      isClosed = true;
      channel.close();
      return Promise.resolve();
    },
  };
}

function membershipCalls(
  client: Client<typeof AdminService>,
  { look, change }: Askers,
): Pick<
  AdminClient,
  'addMember' | 'planVoters' | 'changeVoters' | 'rollBackMembership' | 'transferLeadership'
> {
  return {
    addMember: (request) =>
      change((options) => client.addMember(request, options), patienceMs(request)),
    planVoters: (request) => look((options) => client.planVoters(request, options)),
    changeVoters: (request) =>
      change((options) => client.changeVoters(request, options), patienceMs(request)),
    rollBackMembership: (request) =>
      change((options) => client.rollBackMembership(request, options), patienceMs(request)),
    transferLeadership: (request) =>
      change((options) => client.transferLeadership(request, options), patienceMs(request)),
  };
}

function durabilityCalls(
  client: Client<typeof AdminService>,
  { look, change }: Askers,
): Pick<AdminClient, 'getDurability' | 'setDurability'> {
  return {
    getDurability: (request) => look((options) => client.getDurability(request, options)),
    setDurability: (request) =>
      change((options) => client.setDurability(request, options), patienceMs(request)),
  };
}

function keyCalls(
  client: Client<typeof AdminService>,
  { look, change }: Askers,
): Pick<AdminClient, 'getKeys' | 'rotateKeys'> {
  return {
    getKeys: () => look((options) => client.getKeys({}, options)),
    rotateKeys: () => change((options) => client.rotateKeys({}, options), rotateDeadlineMs),
  };
}

function quarantineCalls(
  client: Client<typeof AdminService>,
  { change }: Askers,
): Pick<AdminClient, 'setQuarantine' | 'clearQuarantine'> {
  return {
    setQuarantine: async (request) => {
      await change((options) => client.setQuarantine(request, options));
    },
    clearQuarantine: async (request) => {
      await change((options) => client.clearQuarantine(request, options));
    },
  };
}

function scrubCalls(
  client: Client<typeof AdminService>,
  { look, change }: Askers,
): Pick<AdminClient, 'getScrub' | 'startScrub' | 'pauseScrub' | 'resumeScrub'> {
  return {
    getScrub: () => look((options) => client.getScrub({}, options)),
    startScrub: () => change((options) => client.startScrub({}, options)),
    pauseScrub: () => change((options) => client.pauseScrub({}, options)),
    resumeScrub: () => change((options) => client.resumeScrub({}, options)),
  };
}

/** The node answers when its own deadline has passed; the connection waits a little longer. */
function patienceMs({ deadlineMs = 0 }: { readonly deadlineMs?: number | undefined }): number {
  return (deadlineMs === 0 ? changeDeadlineMs : deadlineMs) + adminDeadlineMs;
}

function closedError(outcome: Outcome): ClustorError {
  return new ClustorError('CLUSTOR_CLOSED', 'the admin client was closed', { outcome });
}

/** Numbers above 2^53 - 1 never leave a node: it refuses logs that long. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(([name]) => !name.startsWith('$'));
  return Object.fromEntries(fields.map(([name, field]) => [name, plain(field)]));
}

/** A call that failed. */
interface FailedCall {
  readonly error: unknown;
  readonly isChange: boolean;
  readonly timeoutMs: number;
}

function asClustorError(call: FailedCall, channel: AdminChannel): ClustorError {
  const { error: cause, isChange, timeoutMs } = call;
  const { endpoint } = channel;
  const known = ConnectError.from(cause);
  const code = known.metadata.get('clustor-code');
  if (code !== null && code in errorCodes) {
    const told = known.metadata.get('clustor-outcome');
    const outcome = isChange ? outcomes.find((row) => row === told) : 'surelyNot';
    const options = { cause, ...(outcome === undefined ? {} : { outcome }) };
    return new ClustorError(code as ErrorCode, known.rawMessage, options);
  }
  const refusal = channel.refusalOf(cause);
  if (refusal !== undefined) return refusal;
  const outcome = outcomeOf(call);
  if (known.code === Code.DeadlineExceeded) {
    const message = `${endpoint} did not answer within ${timeoutMs} ms`;
    return new ClustorError('CLUSTOR_DEADLINE_EXCEEDED', message, { cause, outcome });
  }
  // A node that refuses this side's certificate just closes; the reason is in its own log.
  const message = `${endpoint} gave no answer, and if it runs, its log says why: ${known.rawMessage}`;
  return new ClustorError('CLUSTOR_NO_LEADER', message, { cause, outcome });
}

const outcomes: readonly Outcome[] = ['surelyNot', 'committed', 'unknown'];

/** What is known of a call without an answer: what went out and changes something may have been done. */
function outcomeOf({ error, isChange }: FailedCall): Outcome {
  return isChange && !isNeverConnected(error) ? 'unknown' : 'surelyNot';
}

/** Whether the system found no way to the node, so that no request left. */
function isNeverConnected(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if ('syscall' in cause && (cause.syscall === 'connect' || cause.syscall === 'getaddrinfo'))
      return true;
  return false;
}
