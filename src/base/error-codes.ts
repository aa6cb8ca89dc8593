/**
 * The one table of error codes: what happened, whether the same call may be repeated, its wire number, and the process
 * exit code that the CLI gives for it. `docs/reference/errors.md` has a section for each (a test compares them).
 */

/** What the caller may conclude about the effect of its request (specification §2.4). @public */
export type Outcome = 'surelyNot' | 'committed' | 'unknown';

interface ErrorRow {
  /** Number on the wire (facts: wire 1001–1099, reads 2000–2099, storage 3000–3099, security 5000–5099, …). */
  readonly wire: number;
  /** True when the same request may succeed later or elsewhere without being changed. */
  readonly retryable: boolean;
  /** What is known about the request's effect. */
  readonly outcome: Outcome;
  /** What to do next, one sentence. */
  readonly advice: string;
}

/** Every error code of the package. @public */
export const errorCodes = {
  CLUSTOR_INVALID_ARGUMENT: {
    wire: 900,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'Correct the argument named in the message.',
  },
  CLUSTOR_CLOSED: {
    wire: 901,
    retryable: true,
    outcome: 'unknown',
    advice: 'The node or client was closed; open it again or ask another node.',
  },
  CLUSTOR_ABORTED: {
    wire: 902,
    retryable: true,
    outcome: 'unknown',
    advice: 'The caller gave up; ask again under the same idempotency key to learn the outcome.',
  },
  CLUSTOR_DEADLINE_EXCEEDED: {
    wire: 903,
    retryable: true,
    outcome: 'unknown',
    advice: 'Ask again under the same idempotency key to learn the outcome.',
  },
  CLUSTOR_INTERNAL: {
    wire: 904,
    retryable: false,
    outcome: 'unknown',
    advice: 'A broken invariant stopped this replica; keep its log output and report it.',
  },
  CLUSTOR_WIRE_BODY_TOO_SHORT: {
    wire: 1001,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The frame ends before its fields do; the sender is broken or speaks another catalog.',
  },
  CLUSTOR_WIRE_BODY_TOO_LARGE: {
    wire: 1002,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The frame is larger than the agreed maximum; send smaller requests.',
  },
  CLUSTOR_WIRE_UNKNOWN_FIELD: {
    wire: 1003,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'The frame has an enum value or a tail that this version does not know; upgrade this side or downgrade the other.',
  },
  CLUSTOR_WIRE_CATALOG_MISMATCH: {
    wire: 1010,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The two sides speak incompatible wire catalogs; upgrade one of them.',
  },
  CLUSTOR_WIRE_UNKNOWN_MESSAGE: {
    wire: 1011,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The message id is not in the catalog, or not allowed in this state of the connection.',
  },
  CLUSTOR_WIRE_BAD_VALUE: {
    wire: 1012,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'A field holds a value outside its range.',
  },
  CLUSTOR_WIRE_FRAME_CORRUPT: {
    wire: 1013,
    retryable: true,
    outcome: 'surelyNot',
    advice:
      'An entry frame failed its CRC or names another entry; the connection is closed and the entries are sent again.',
  },
  CLUSTOR_WIRE_EXPERIMENTAL_FIELD: {
    wire: 1014,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'Experimental enum values are not accepted here.',
  },
  CLUSTOR_NOT_LEADER: {
    wire: 2020,
    retryable: true,
    outcome: 'surelyNot',
    advice: 'Ask the node named in the details, or any other one.',
  },
  CLUSTOR_NO_LEADER: {
    wire: 2021,
    retryable: true,
    outcome: 'surelyNot',
    advice: 'Wait for an election; if it lasts, look at `clustor status` for nodes that are down.',
  },
  CLUSTOR_LEADERSHIP_LOST: {
    wire: 2022,
    retryable: true,
    outcome: 'unknown',
    advice: 'Ask again under the same idempotency key to learn the outcome.',
  },
  CLUSTOR_ENTRY_SUPERSEDED: {
    wire: 2023,
    retryable: true,
    outcome: 'surelyNot',
    advice:
      'Another entry was committed at the index; the request did not happen and may be sent again.',
  },
  CLUSTOR_READ_UNCONFIRMED: {
    wire: 2024,
    retryable: true,
    outcome: 'surelyNot',
    advice: 'The leader could not confirm its leadership for this read; ask again.',
  },
  CLUSTOR_UNKNOWN_PARTITION: {
    wire: 2025,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'This node hosts no replica of the partition; check the partition id and the node.',
  },
  CLUSTOR_ROUTING_EPOCH_MISMATCH: {
    wire: 2026,
    retryable: true,
    outcome: 'surelyNot',
    advice: 'Refresh the routing information and ask again.',
  },
  CLUSTOR_MODE_CONFLICT: {
    wire: 2027,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'Look at `clustor durability get`: it names the present epoch and the clause that forbids Group-Fsync.',
  },
  CLUSTOR_DATA_DIRECTORY_LOCKED: {
    wire: 3000,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'Stop the process named in the message, or use another data directory.',
  },
  CLUSTOR_DISK_HARD: {
    wire: 3001,
    retryable: true,
    outcome: 'surelyNot',
    advice:
      'The disk or the log is full; free space or raise log_bytes_max. `clustor why diskBlocked` says which; writes come back by themselves.',
  },
  CLUSTOR_STORAGE_FAILED: {
    wire: 3002,
    retryable: true,
    outcome: 'unknown',
    advice:
      'A write or sync failed; this replica has stepped back. Check the disk, then restart the node.',
  },
  CLUSTOR_INTEGRITY: {
    wire: 3003,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'Covered data of this replica cannot be read; it neither votes nor acknowledges. Keep its files; the other replicas have the data.',
  },
  CLUSTOR_REPLICA_FILES_MISSING: {
    wire: 3004,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'Files of a registered replica are gone; restore them, or bring the replica back as a new incarnation.',
  },
  CLUSTOR_NOT_INITIALIZED: {
    wire: 3005,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The data directory hosts nothing; create its replicas with init.',
  },
  CLUSTOR_ALREADY_INITIALIZED: {
    wire: 3006,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The replica exists already; init is only for new ones.',
  },
  CLUSTOR_FORMAT_UNSUPPORTED: {
    wire: 3007,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The files were written by a newer version; use that version or newer.',
  },
  CLUSTOR_WRONG_DATA_DIRECTORY: {
    wire: 3008,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The data directory belongs to another cluster or node; check the configuration.',
  },
  CLUSTOR_REPLICA_IN_DOUBT: {
    wire: 3009,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'This replica cannot prove what it once acknowledged (KER-9); it must come back as a new incarnation.',
  },
  CLUSTOR_QUARANTINED: {
    wire: 3020,
    retryable: true,
    outcome: 'surelyNot',
    advice:
      'This replica is in quarantine: ask another node; `clustor why quarantined` says why, and what ends it.',
  },
  CLUSTOR_LOG_COMPACTED: {
    wire: 3010,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'The asked entries are no longer in the log; start from a snapshot or the first index in the details.',
  },
  CLUSTOR_SNAPSHOT_UNAVAILABLE: {
    wire: 4000,
    retryable: true,
    outcome: 'surelyNot',
    advice: 'No snapshot can be taken or installed just now; try again, or ask another replica.',
  },
  CLUSTOR_SNAPSHOT_MISSING: {
    wire: 4001,
    retryable: true,
    outcome: 'surelyNot',
    advice:
      'The state machine of this replica waits for a snapshot: ask another node; it fetches one by itself.',
  },
  CLUSTOR_DISK_UNSAFE: {
    wire: 3050,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'Move the data directory to a safe disk, or record the decision to use this one; `clustor doctor` says how.',
  },
  CLUSTOR_KEY_EPOCH_REPLAY: {
    wire: 3051,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'The key ring is older than the data beside it; restore the newest wal/keys.json that this directory had.',
  },
  CLUSTOR_KEY_EPOCH_MISMATCH: {
    wire: 3052,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'Data of this directory needs a key that its key ring no longer has; restore ring and journal from the same moment.',
  },
  CLUSTOR_UNAUTHENTICATED: {
    wire: 5000,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'Present a certificate of this cluster with a SPIFFE URI name.',
  },
  CLUSTOR_PERMISSION_DENIED: {
    wire: 5001,
    retryable: false,
    outcome: 'surelyNot',
    advice: "The certificate's role does not allow this call; use another identity.",
  },
  CLUSTOR_WRONG_CLUSTER: {
    wire: 5002,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The peer belongs to another cluster; check addresses and certificates.',
  },
  CLUSTOR_WRONG_NODE: {
    wire: 5003,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The peer is not the node that was expected at this address.',
  },
  CLUSTOR_CERTIFICATE_EXPIRED: {
    wire: 5004,
    retryable: true,
    outcome: 'surelyNot',
    advice: 'Renew the certificate; check the clocks of both machines.',
  },
  CLUSTOR_KEY_MISSING: {
    wire: 5010,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'The data directory is encrypted; name where its key-encryption key is, as in docs/guide/encryption.md.',
  },
  CLUSTOR_KEY_WRONG: {
    wire: 5011,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'This key-encryption key does not open the key ring of this data directory; give the one it was wrapped with.',
  },
  CLUSTOR_KEY_PROVIDER_UNAVAILABLE: {
    wire: 5012,
    retryable: true,
    outcome: 'surelyNot',
    advice:
      'The key service did not do what was asked; check its address, its token and whether it is sealed, then start again.',
  },
  CLUSTOR_KEY_UNSAFE: {
    wire: 5013,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'Others can read the key file; make it readable for its owner alone (chmod 600).',
  },
  CLUSTOR_NOT_ENCRYPTED: {
    wire: 5014,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The node runs without encryption and has no keys; start it with a key provider first.',
  },
  CLUSTOR_OVERLOADED: {
    wire: 6000,
    retryable: true,
    outcome: 'surelyNot',
    advice: 'A queue named in the message is full; slow down and ask again.',
  },
  CLUSTOR_ENTRY_TOO_LARGE: {
    wire: 6001,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'Split the entry; the maximum is in the message.',
  },
  CLUSTOR_INCARNATION_MISMATCH: {
    wire: 7000,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The message was meant for another life of this replica.',
  },
  CLUSTOR_MEMBERSHIP_BLOCKED: {
    wire: 7001,
    retryable: true,
    outcome: 'surelyNot',
    advice:
      'Another change is in flight or the leader is new; `clustor why membershipBlocked` says what is awaited.',
  },
  CLUSTOR_LEARNER_BEHIND: {
    wire: 7002,
    retryable: true,
    outcome: 'surelyNot',
    advice: 'Wait until the learner has caught up, then promote it.',
  },
  CLUSTOR_SURVIVABILITY: {
    wire: 7003,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'Add voters before removing others, or use the advisory policy with a record of the decision.',
  },
  CLUSTOR_MEMBERSHIP_ROLLED_BACK: {
    wire: 7004,
    retryable: true,
    outcome: 'committed',
    advice: 'The old configuration is in force again; look at the new nodes and try once more.',
  },
  CLUSTOR_NODE_UNREACHABLE: {
    wire: 7005,
    retryable: true,
    outcome: 'surelyNot',
    advice: 'Start the node, check its address and certificate, then try again.',
  },
  CLUSTOR_TRANSFER_ABORTED: {
    wire: 7006,
    retryable: true,
    outcome: 'surelyNot',
    advice: 'The leader goes on; look at the target node, or name another one.',
  },
  CLUSTOR_LEADER_TOO_NEW: {
    wire: 7008,
    retryable: true,
    outcome: 'surelyNot',
    advice:
      'A leader leads for 750 ms at least before it hands over; ask again after the time in the message.',
  },
  CLUSTOR_TOO_MANY_OBSERVERS: {
    wire: 7009,
    retryable: false,
    outcome: 'surelyNot',
    advice:
      'A partition has at most two observers; remove one first, or add the node as a learner.',
  },
  CLUSTOR_NOT_A_MEMBER: {
    wire: 7007,
    retryable: true,
    outcome: 'surelyNot',
    advice:
      "This node's replica was removed from the partition, or is not taken in yet; ask a node that holds a member.",
  },
  CLUSTOR_APPLY_FAULT: {
    wire: 8000,
    retryable: false,
    outcome: 'committed',
    advice:
      'The state machine failed on this entry and stopped applying: mend it, restart the node with it, then `clustor quarantine clear --ticket`.',
  },
  CLUSTOR_IDEMPOTENCY_HORIZON_PASSED: {
    wire: 8001,
    retryable: false,
    outcome: 'unknown',
    advice:
      'The key is too old to be told apart from a new one; read the state to learn whether the first attempt happened.',
  },
  CLUSTOR_IDEMPOTENCY_KEY_REUSE: {
    wire: 8002,
    retryable: false,
    outcome: 'surelyNot',
    advice: 'The same key was used for other bytes; use a new key for a new request.',
  },
  CLUSTOR_IDEMPOTENCY_INDEX_NEEDED: {
    wire: 8003,
    retryable: true,
    outcome: 'surelyNot',
    advice: 'Send the commit index from the details with the first attempt and all retries.',
  },
  CLUSTOR_APPLY_RETRYABLE: {
    wire: 8004,
    retryable: true,
    outcome: 'committed',
    advice: 'The state machine asked to be tried again; the entry is committed and applied later.',
  },
  CLUSTOR_RESULT_TOO_LARGE: {
    wire: 8005,
    retryable: false,
    outcome: 'committed',
    advice:
      'The state machine answered with more bytes than an answer may have; let it answer with less, and read the rest in parts.',
  },
} as const;

/** A stable error code. @public */
export type ErrorCode = keyof typeof errorCodes;

const rows: Readonly<Record<ErrorCode, ErrorRow>> = errorCodes;

const codesByWireNumber: ReadonlyMap<number, ErrorCode> = new Map(
  (Object.keys(errorCodes) as ErrorCode[]).map((code) => [errorCodes[code].wire, code]),
);

/** The number of a code on the wire. */
export function wireNumberOf(code: ErrorCode): number {
  return rows[code].wire;
}

/** The code of a number on the wire; unknown numbers read as an internal error of the other side. */
export function errorCodeOfWireNumber(wire: number): ErrorCode {
  return codesByWireNumber.get(wire) ?? 'CLUSTOR_INTERNAL';
}
