/** Asks the admin service of one node, over whatever transport it is given. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type Client, type Transport } from '@connectrpc/connect';

import { errorCodes, type ErrorCode } from '../base/error-codes.ts';
import { ClustorError } from '../base/errors.ts';
import {
  AdminService,
  type ClearQuarantineRequestSchema,
  type SetQuarantineRequestSchema,
  type AddMemberRequestSchema,
  type ChangeVotersRequestSchema,
  type Durability,
  type GetDurabilityRequestSchema,
  type GetStatusResponse,
  type KeysResponse,
  type MembershipResponse,
  type Partition,
  type PlanVotersResponse,
  type RollBackMembershipRequestSchema,
  type ScrubResponse,
  type SetDurabilityRequestSchema,
  type TransferLeadershipRequestSchema,
  type TransferLeadershipResponse,
} from './generated/clustor/admin/v1/admin_pb.ts';
import type { WhyAnswer, WhyKind } from './why.ts';

/** 64-bit numbers as numbers, the message's own marks left out. @public */
export type Plain<T> = T extends bigint
  ? number
  : T extends readonly (infer Item)[]
    ? Plain<Item>[]
    : T extends object
      ? { [Key in Exclude<keyof T, `$${string}`>]: Plain<T[Key]> }
      : T;

/** What a node says of itself. @public */
export type AdminNodeStatus = Omit<Plain<GetStatusResponse>, 'journal' | 'disk'> & {
  readonly disk: NonNullable<Plain<GetStatusResponse>['disk']>;
  readonly journal: NonNullable<Plain<GetStatusResponse>['journal']>;
};

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
 * is not who it should be, `CLUSTOR_DEADLINE_EXCEEDED` after 5 s, `CLUSTOR_CLOSED` after `close`, otherwise
 * `CLUSTOR_NO_LEADER` for a node that cannot be reached.
 */
export interface AdminClient {
  getStatus(): Promise<AdminNodeStatus>;
  listPartitions(): Promise<readonly Plain<Partition>[]>;
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
  clearQuarantine(request: MessageInitShape<typeof ClearQuarantineRequestSchema>): Promise<void>;
  close(): Promise<void>;
}

/** Milliseconds after which a call is given up. */
export const adminDeadlineMs = 5_000;
/** Milliseconds that a node waits for a change of members to end, if the request does not say. */
const changeDeadlineMs = 150_000;

/** Milliseconds that a change of keys may take: the key service is asked, and a segment made ready. */
const rotateDeadlineMs = 60_000;

/** Makes a client; it connects with its first call. */
export function createAdminClient(channel: AdminChannel): AdminClient {
  const client = createClient(AdminService, channel.transport);
  let isClosed = false;
  const call = async <T>(run: () => Promise<T>): Promise<T> => {
    if (isClosed) throw closedError();
    try {
      return await run();
    } catch (error) {
      throw isClosed ? closedError() : asClustorError(error, channel);
    }
  };
  return {
    getStatus: () => call(async () => plain(await client.getStatus({})) as AdminNodeStatus),
    listPartitions: () =>
      call(async () => plain((await client.listPartitions({})).partitions) as Plain<Partition>[]),
    why: (partitionId, kind) =>
      call(async () => plain(await client.why({ partitionId, kind })) as WhyAnswer),
    addMember: (request) =>
      call(
        async () =>
          plain(await client.addMember(request, patience(request))) as Plain<MembershipResponse>,
      ),
    planVoters: (request) =>
      call(async () => plain(await client.planVoters(request)) as Plain<PlanVotersResponse>),
    changeVoters: (request) =>
      call(
        async () =>
          plain(await client.changeVoters(request, patience(request))) as Plain<MembershipResponse>,
      ),
    rollBackMembership: (request) =>
      call(
        async () =>
          plain(
            await client.rollBackMembership(request, patience(request)),
          ) as Plain<MembershipResponse>,
      ),
    transferLeadership: (request) =>
      call(
        async () =>
          plain(
            await client.transferLeadership(request, patience(request)),
          ) as Plain<TransferLeadershipResponse>,
      ),
    getDurability: (request) =>
      call(async () => plain(await client.getDurability(request)) as Plain<Durability>),
    setDurability: (request) =>
      call(
        async () =>
          plain(await client.setDurability(request, patience(request))) as Plain<Durability>,
      ),
    ...quarantineCalls(client, call),
    getKeys: () => call(async () => plain(await client.getKeys({})) as Plain<KeysResponse>),
    rotateKeys: () =>
      call(
        async () =>
          plain(
            await client.rotateKeys({}, { timeoutMs: rotateDeadlineMs }),
          ) as Plain<KeysResponse>,
      ),
    ...scrubCalls(client, call),
    close: () => {
      isClosed = true;
      channel.close();
      return Promise.resolve();
    },
  };
}

function quarantineCalls(
  client: Client<typeof AdminService>,
  call: <T>(run: () => Promise<T>) => Promise<T>,
): Pick<AdminClient, 'setQuarantine' | 'clearQuarantine'> {
  return {
    setQuarantine: (request) =>
      call(async () => {
        await client.setQuarantine(request);
      }),
    clearQuarantine: (request) =>
      call(async () => {
        await client.clearQuarantine(request);
      }),
  };
}

function scrubCalls(
  client: Client<typeof AdminService>,
  call: <T>(run: () => Promise<T>) => Promise<T>,
): Pick<AdminClient, 'getScrub' | 'startScrub' | 'pauseScrub' | 'resumeScrub'> {
  const asked = (ask: () => Promise<ScrubResponse>): Promise<Plain<ScrubResponse>> =>
    call(async () => plain(await ask()) as Plain<ScrubResponse>);
  return {
    getScrub: () => asked(() => client.getScrub({})),
    startScrub: () => asked(() => client.startScrub({})),
    pauseScrub: () => asked(() => client.pauseScrub({})),
    resumeScrub: () => asked(() => client.resumeScrub({})),
  };
}

/** The node answers when its own deadline has passed; the connection waits a little longer. */
function patience(request: { readonly deadlineMs?: number | undefined }): {
  readonly timeoutMs: number;
} {
  const { deadlineMs = 0 } = request;
  return { timeoutMs: (deadlineMs === 0 ? changeDeadlineMs : deadlineMs) + adminDeadlineMs };
}

function closedError(): ClustorError {
  return new ClustorError('CLUSTOR_CLOSED', 'the admin client was closed', {
    outcome: 'surelyNot',
  });
}

/** Numbers above 2^53 - 1 never leave a node: it refuses logs that long. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(([name]) => !name.startsWith('$'));
  return Object.fromEntries(fields.map(([name, field]) => [name, plain(field)]));
}

function asClustorError(error: unknown, channel: AdminChannel): ClustorError {
  const { endpoint } = channel;
  const known = ConnectError.from(error);
  const code = known.metadata.get('clustor-code');
  if (code !== null && code in errorCodes) {
    return new ClustorError(code as ErrorCode, known.rawMessage, { cause: error });
  }
  const refusal = channel.refusalOf(error);
  if (refusal !== undefined) return refusal;
  if (known.code === Code.DeadlineExceeded) {
    const message = `${endpoint} did not answer within ${adminDeadlineMs} ms`;
    return new ClustorError('CLUSTOR_DEADLINE_EXCEEDED', message, {
      cause: error,
      outcome: 'surelyNot',
    });
  }
  // A node that refuses this side's certificate just closes; the reason is in its own log.
  const message = `${endpoint} gave no answer, and if it runs, its log says why: ${known.rawMessage}`;
  return new ClustorError('CLUSTOR_NO_LEADER', message, { cause: error });
}
