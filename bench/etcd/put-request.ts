/**
 * gRPC messages of etcd's key-value service, encoded by hand so that the client's own cost stays small.
 *
 * A gRPC message is `u8 compressed = 0, u32 length big-endian, protobuf`; a PutRequest has the key as field 1 and
 * the value as field 2, a StatusResponse begins with a header (field 1, whose field 2 is the member's id) and names
 * the leader in field 4.
 */

const lengthDelimited = 2;
const grpcHeaderBytes = 5;

/** A framed `etcdserverpb.PutRequest`. */
export function encodePut(key: string, value: Uint8Array): Buffer {
  return frame(Buffer.concat([bytesField(1, Buffer.from(key)), bytesField(2, value)]));
}

/** A framed message without any field. */
export function encodeEmpty(): Buffer {
  return frame(Buffer.alloc(0));
}

/** Who answered an `etcdserverpb.StatusRequest`, and whom it takes for the leader; 0 for nobody. */
export interface MemberStatus {
  readonly memberId: bigint;
  readonly leaderId: bigint;
}

/** Reads the framed answer to a status request. */
export function decodeStatus(answer: Uint8Array): MemberStatus {
  const fields = decodeFields(answer.subarray(grpcHeaderBytes));
  const header = fields.get(1);
  const memberId = header instanceof Uint8Array ? decodeFields(header).get(2) : undefined;
  const leaderId = fields.get(4);
  return {
    memberId: typeof memberId === 'bigint' ? memberId : 0n,
    leaderId: typeof leaderId === 'bigint' ? leaderId : 0n,
  };
}

function frame(message: Buffer): Buffer {
  const header = Buffer.alloc(grpcHeaderBytes);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

function bytesField(field: number, value: Uint8Array): Buffer {
  return Buffer.concat([varint(field * 8 + lengthDelimited), varint(value.length), value]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 128) {
      bytes.push(rest);
      return Buffer.from(bytes);
    }
    bytes.push((rest & 127) | 128);
  }
}

function decodeFields(bytes: Uint8Array): Map<number, bigint | Uint8Array> {
  const fields = new Map<number, bigint | Uint8Array>();
  let at = 0;
  const readVarint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; at < bytes.length; shift += 7n) {
      const byte = bytes[at++] ?? 0;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) break;
    }
    return value;
  };
  while (at < bytes.length) {
    const tag = Number(readVarint());
    const field = tag >>> 3;
    if ((tag & 7) === 0) {
      fields.set(field, readVarint());
    } else if ((tag & 7) === lengthDelimited) {
      const length = Number(readVarint());
      fields.set(field, bytes.subarray(at, at + length));
      at += length;
    } else throw new RangeError('a wire type that these messages do not use');
  }
  return fields;
}
