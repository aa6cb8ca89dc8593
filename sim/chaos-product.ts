/**
 * The state machine under chaos: registers and counters that remember every operation ever applied, so that a run ends with an
 * account of what was lost and what took effect twice.
 *
 * An entry is a JSON list `[id, op, key, …]`: `["3.17","write","k1","3.17"]`, `["3.18","cas","k1","3.17","3.18"]`,
 * `["3.19","incr","c1",1]`. Its result is the JSON of what happened: `true`, whether the cas found its value, the new number.
 * A query is `["read", key]` or `["account"]`. Every node answers queries, linearizably, at a loopback HTTP address as well:
 * a client of the cluster could not choose which replica answers.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

import type {
  ApplyOutcome,
  EntryBatch,
  Partition,
  Product,
  ProductContext,
  RunningProduct,
  StateMachine,
} from 'clustor';

/** What a replica has become, from its first entry on. */
export interface ChaosAccount {
  /** Pairs of key and value, by key. */
  readonly values: readonly (readonly [string, string | number])[];
  /** Ids of the operations applied, in order. */
  readonly ids: readonly string[];
  /** Hash over index and bytes of every entry applied. */
  readonly digest: string;
}

type Operation =
  | readonly [id: string, op: 'write', key: string, value: string]
  | readonly [id: string, op: 'cas', key: string, expected: string | null, value: string]
  | readonly [id: string, op: 'incr', key: string, amount: number];

type Query = readonly ['read', string] | readonly ['account'];

const readDeadlineMs = 5000;
const requestBytesMax = 4096;

class ChaosMachine implements StateMachine {
  readonly #values = new Map<string, string | number>();
  readonly #ids: string[] = [];
  #digest = '';

  apply(batch: EntryBatch): ApplyOutcome {
    const results: Uint8Array[] = [];
    for (let position = 0; position < batch.length; position++) {
      const payload = batch.payload(position);
      const link = `${this.#digest} ${batch.index(position)} `;
      this.#digest = createHash('sha256').update(link).update(payload).digest('hex');
      const operation = JSON.parse(Buffer.from(payload).toString()) as Operation;
      this.#ids.push(operation[0]);
      results.push(Buffer.from(JSON.stringify(this.#run(operation))));
    }
    return { kind: 'ack', results };
  }

  query(request: Uint8Array): Uint8Array {
    const [kind, key] = JSON.parse(Buffer.from(request).toString()) as Query;
    const answer = kind === 'read' ? (this.#values.get(key) ?? null) : this.#account();
    return Buffer.from(JSON.stringify(answer));
  }

  async *snapshot(): AsyncIterable<Uint8Array> {
    yield Buffer.from(JSON.stringify(this.#account()));
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    const account = JSON.parse(Buffer.concat(parts).toString()) as ChaosAccount;
    this.#values.clear();
    for (const [key, value] of account.values) this.#values.set(key, value);
    this.#ids.splice(0, this.#ids.length, ...account.ids);
    this.#digest = account.digest;
  }

  #run(operation: Operation): boolean | number {
    const [, op, key] = operation;
    switch (op) {
      case 'write':
        this.#values.set(key, operation[3]);
        return true;
      case 'cas': {
        const isExpected = (this.#values.get(key) ?? null) === operation[3];
        if (isExpected) this.#values.set(key, operation[4]);
        return isExpected;
      }
      case 'incr': {
        const after = Number(this.#values.get(key) ?? 0) + operation[3];
        this.#values.set(key, after);
        return after;
      }
    }
  }

  #account(): ChaosAccount {
    const values = [...this.#values].sort(([left], [right]) => (left < right ? -1 : 1));
    return { values, ids: this.#ids, digest: this.#digest };
  }
}

/** What `clustor node` loads. */
export const product: Product = {
  name: 'chaos',
  createStateMachine: () => new ChaosMachine(),
  async start(context: ProductContext): Promise<RunningProduct> {
    const server = createServer((request, response) => {
      void answer(context.partitions[0], request, response);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(context.port ?? 0, '127.0.0.1', resolve);
    });
    const address = server.address();
    const bound = typeof address === 'object' && address !== null ? address.port : 0;
    return {
      addresses: { http: `127.0.0.1:${bound}` },
      close: async () => {
        server.close();
        server.closeAllConnections();
        await delay(0);
      },
    };
  },
};

async function answer(
  partition: Partition | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const body = await bodyOf(request);
    if (partition === undefined) throw new Error('this node holds no replica');
    const result = await partition.read((machine) => machine.query(body), {
      deadlineMs: readDeadlineMs,
    });
    response.end(result);
  } catch (error) {
    response.statusCode = 503;
    response.end(error instanceof Error ? error.message : 'failed');
  }
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > requestBytesMax) throw new RangeError('the query is too long');
    parts.push(part);
  }
  return Buffer.concat(parts);
}
