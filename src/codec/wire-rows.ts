/** What a row of the wire catalog is made of. */

/** Bytes of the largest body of any message (facts: RPC cap). */
export const bodyBytesMax: number = 4 * 1024 * 1024;

/** Plain field types and what they are in memory; see `wire-messages.ts`. */
export type PlainFieldType =
  | 'u8'
  | 'u16'
  | 'u32'
  | 'u64'
  | 'bool'
  | 'term'
  | 'logIndex'
  | 'nodeId'
  | 'replicaId'
  | 'partitionId'
  | 'incarnation'
  | 'clusterId'
  | 'bytes'
  | 'text'
  | 'rest';

/** One field of a payload. */
export type FieldRow =
  | { readonly name: string; readonly type: PlainFieldType; readonly max?: number }
  | { readonly name: string; readonly type: 'flags8'; readonly bits: readonly string[] }
  | { readonly name: string; readonly type: 'enum'; readonly values: readonly string[] }
  | {
      readonly name: string;
      readonly type: 'array';
      readonly max: number;
      readonly of: readonly FieldRow[];
    };

/** One message. */
export interface MessageRow {
  readonly id: number;
  readonly kind: string;
  readonly class: 'oneWay' | 'request' | 'response';
  readonly scope: 'node' | 'partition';
  /** Who may send it: `node`s of the cluster only, or `any` certified peer. */
  readonly audience: 'node' | 'any';
  readonly bodyBytesMax: number;
  /** `preVote`: the published payload with an optional tail, sender in the TLV block. */
  readonly layout?: 'preVote';
  readonly fields: readonly FieldRow[];
}
