/** KEKs from files, environment variables and a Vault: a small server here speaks the documented API of its transit engine. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { isClustorError } from '../../src/base/errors.ts';
import { createKeyFile, openKeyFile, openKeyVariable } from '../../src/platform/key-files.ts';
import { openVaultKey, type VaultKeyOptions } from '../../src/platform/vault-key-provider.ts';
import type { KeyContext, KeyProvider } from '../../src/ports/key-provider.ts';

const context: KeyContext = {
  clusterId: '018c0d6c-9c11-7e9d-8000-86f5bb8c0001',
  nodeId: 1,
  purpose: 'journalData',
  epoch: 1,
};
const key = Uint8Array.from({ length: 32 }, (_, at) => at);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'clustor-keys-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function codeOf(call: Promise<unknown> | (() => unknown)): Promise<unknown> {
  try {
    await (typeof call === 'function' ? call() : call);
    return undefined;
  } catch (error) {
    return isClustorError(error) ? error.code : error;
  }
}

/** What every provider must do. */
async function keepsContract(provider: KeyProvider, other: KeyProvider): Promise<void> {
  const wrapped = await provider.wrap(key, context);
  expect(Buffer.from(wrapped.bytes).includes(Buffer.from(key))).toBe(false);
  expect(await provider.unwrap(wrapped, context)).toEqual(key);
  for (const changed of [
    { ...context, epoch: 2 },
    { ...context, nodeId: 2 },
    { ...context, purpose: 'journalMac' as const },
    { ...context, clusterId: '018c0d6c-9c11-7e9d-8000-86f5bb8c0002' },
  ])
    expect(await codeOf(provider.unwrap(wrapped, changed))).toBe('CLUSTOR_KEY_WRONG');
  expect(await codeOf(other.unwrap(wrapped, context))).toMatch(/^CLUSTOR_KEY_(WRONG|MISSING)$/);
}

describe('a key file', () => {
  test('is made for its owner alone, and wraps', async () => {
    const [path, other] = [join(folder, 'a.json'), join(folder, 'b.json')];
    await createKeyFile(path);
    await createKeyFile(other);

    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await keepsContract(await openKeyFile(path), await openKeyFile(other));
    const text = await readFile(path, 'utf8');
    await expect(createKeyFile(path)).rejects.toThrow('EEXIST');
    expect(await readFile(path, 'utf8')).toBe(text);
  });

  test('that others can read is refused, and one that is not there', async () => {
    const path = join(folder, 'open.json');
    await createKeyFile(path);
    await chmod(path, 0o640);

    expect(await codeOf(openKeyFile(path))).toBe('CLUSTOR_KEY_UNSAFE');
    expect(await codeOf(openKeyFile(join(folder, 'none.json')))).toBe('CLUSTOR_KEY_MISSING');
  });

  test.each([
    ['no JSON', '{'],
    ['another format', '{"format":2,"keys":[]}'],
    ['no key', '{"format":1,"keys":[]}'],
    ['a short key', '{"format":1,"keys":[{"id":"a","key":"00ff"}]}'],
    ['a key without an id', `{"format":1,"keys":[{"id":"","key":"${'00'.repeat(32)}"}]}`],
    ['null', 'null'],
  ])('with %s is refused', async (_name, text) => {
    const path = join(folder, 'broken.json');
    await writeFile(path, text, { mode: 0o600 });

    expect(await codeOf(openKeyFile(path))).toBe('CLUSTOR_INVALID_ARGUMENT');
  });

  test('with a new first key still unwraps what the older one wrapped', async () => {
    const path = join(folder, 'two.json');
    const [older, newer] = ['11', '22'].map((digits, at) => ({
      id: `kek-${at + 1}`,
      key: digits.repeat(32),
    }));
    await writeFile(path, JSON.stringify({ format: 1, keys: [older] }), { mode: 0o600 });
    const wrapped = await (await openKeyFile(path)).wrap(key, context);
    await writeFile(path, JSON.stringify({ format: 1, keys: [newer, older] }), { mode: 0o600 });
    const provider = await openKeyFile(path);

    expect(await provider.unwrap(wrapped, context)).toEqual(key);
    expect((await provider.wrap(key, context)).kekId).toBe('kek-2');
  });
});

describe('an environment variable', () => {
  afterEach(() => {
    delete process.env['CLUSTOR_TEST_KEK'];
    delete process.env['CLUSTOR_TEST_OTHER'];
  });

  test('holds keys by id', async () => {
    process.env['CLUSTOR_TEST_KEK'] = `new:${'33'.repeat(32)},old:${'44'.repeat(32)}`;
    process.env['CLUSTOR_TEST_OTHER'] = `old:${'44'.repeat(32)}`;

    await keepsContract(openKeyVariable('CLUSTOR_TEST_KEK'), openKeyVariable('CLUSTOR_TEST_OTHER'));
  });

  test('that is not set, or holds no key, is refused', async () => {
    expect(await codeOf(() => openKeyVariable('CLUSTOR_TEST_KEK'))).toBe('CLUSTOR_KEY_MISSING');
    process.env['CLUSTOR_TEST_KEK'] = 'a secret word';
    expect(await codeOf(() => openKeyVariable('CLUSTOR_TEST_KEK'))).toBe(
      'CLUSTOR_INVALID_ARGUMENT',
    );
  });
});

/** The transit engine, as far as its API documentation describes encrypt and decrypt. */
class TransitServer {
  readonly requests: { readonly path: string; readonly headers: IncomingMessage['headers'] }[] = [];
  readonly #server: Server;
  readonly #keys = new Map<string, Buffer>();
  /** In place of the usual answer. */
  answer: ((response: ServerResponse) => void) | undefined;

  constructor() {
    this.#server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        this.requests.push({ path: request.url ?? '', headers: request.headers });
        if (this.answer !== undefined) this.answer(response);
        else this.#handle(request, response, Buffer.concat(parts).toString());
      });
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #handle(request: IncomingMessage, response: ServerResponse, body: string): void {
    const [, verb = '', name = ''] =
      /^\/v1\/(?:transit|team\/keys)\/(encrypt|decrypt)\/([\w-]+)$/.exec(request.url ?? '') ?? [];
    if (request.headers['x-vault-token'] !== 'a-token') {
      reply(response, 403, { errors: ['permission denied'] });
      return;
    }
    if (request.method !== 'POST' || verb === '') {
      reply(response, 404, { errors: [] });
      return;
    }
    const fields = JSON.parse(body) as Readonly<Record<string, string>>;
    const associated = Buffer.from(fields['associated_data'] ?? '', 'base64');
    const secret = this.#keys.get(name) ?? randomBytes(32);
    this.#keys.set(name, secret);
    if (verb === 'encrypt') {
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', secret, nonce).setAAD(associated);
      const plain = Buffer.from(fields['plaintext'] ?? '', 'base64');
      const text = Buffer.concat([
        nonce,
        cipher.update(plain),
        cipher.final(),
        cipher.getAuthTag(),
      ]);
      const ciphertext = `vault:v1:${text.toString('base64')}`;
      reply(response, 200, { data: { ciphertext, key_version: 1 } });
      return;
    }
    const text = Buffer.from((fields['ciphertext'] ?? '').slice('vault:v1:'.length), 'base64');
    const decipher = createDecipheriv('aes-256-gcm', secret, text.subarray(0, 12));
    decipher.setAAD(associated).setAuthTag(text.subarray(-16));
    try {
      const plain = Buffer.concat([decipher.update(text.subarray(12, -16)), decipher.final()]);
      reply(response, 200, { data: { plaintext: plain.toString('base64') } });
      return;
    } catch {
      reply(response, 400, { errors: ['cipher: message authentication failed'] });
      return;
    }
  }
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

describe('a Vault', () => {
  const server = new TransitServer();
  let address: string;
  let tokenFile: string;

  beforeAll(async () => {
    address = await server.listen();
    tokenFile = join(folder, 'token');
    await writeFile(tokenFile, 'a-token\n');
  });

  afterEach(() => {
    server.answer = undefined;
    server.requests.length = 0;
  });

  afterAll(() => server.close());

  function vault(changed: Partial<VaultKeyOptions> = {}): KeyProvider {
    return openVaultKey({ address, key: 'clustor', tokenFile, timeoutMs: 500, ...changed });
  }

  test('wraps and unwraps in its transit engine', async () => {
    await keepsContract(vault(), vault({ key: 'another' }));
  });

  test('is asked with token and namespace, at the mount that is named', async () => {
    await vault({ mount: 'team/keys', namespace: 'east' }).wrap(key, context);

    expect(server.requests).toMatchObject([
      {
        path: '/v1/team/keys/encrypt/clustor',
        headers: { 'x-vault-token': 'a-token', 'x-vault-namespace': 'east' },
      },
    ]);
  });

  test('that has no engine there is a missing key', async () => {
    expect(await codeOf(vault({ mount: 'nothing' }).wrap(key, context))).toBe(
      'CLUSTOR_KEY_MISSING',
    );
  });

  test.each([
    ['is sealed', 503, '{"errors":["Vault is sealed"]}'],
    ['does not know the token', 403, '{"errors":["permission denied"]}'],
    ['answers nonsense', 200, 'hello'],
    ['answers without the field', 200, '{"data":{}}'],
    ['answers with a number', 200, '7'],
  ])('that %s is unavailable', async (_name, status, text) => {
    server.answer = (response) => {
      response.writeHead(status);
      response.end(text);
    };

    const error: unknown = await vault()
      .wrap(key, context)
      .catch((caught: unknown) => caught);
    expect(isClustorError(error, 'CLUSTOR_KEY_PROVIDER_UNAVAILABLE')).toBe(true);
    expect(isClustorError(error) && error.retryable).toBe(true);
  });

  test.each([
    ['never answers', () => undefined],
    ['breaks off', (response: ServerResponse) => response.destroy()],
    ['talks without end', (response: ServerResponse) => response.end(Buffer.alloc(100_000, 0x20))],
  ])('that %s is unavailable', async (_name, answer) => {
    server.answer = answer;

    expect(await codeOf(vault().wrap(key, context))).toBe('CLUSTOR_KEY_PROVIDER_UNAVAILABLE');
  });

  test('that is not there, or whose token is not, is unavailable', async () => {
    const missing = join(folder, 'no-token');
    expect(await codeOf(vault({ address: 'http://127.0.0.1:9' }).wrap(key, context))).toBe(
      'CLUSTOR_KEY_PROVIDER_UNAVAILABLE',
    );
    expect(await codeOf(vault({ tokenFile: missing }).wrap(key, context))).toBe(
      'CLUSTOR_KEY_PROVIDER_UNAVAILABLE',
    );
  });

  test('is named by an address of the web', async () => {
    for (const wrong of ['ftp://vault', 'vault.example', 'vault.example:8200', ''])
      expect(await codeOf(() => vault({ address: wrong }))).toBe('CLUSTOR_INVALID_ARGUMENT');
  });
});
