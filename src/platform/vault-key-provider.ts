/**
 * KEKs in HashiCorp Vault's transit engine: the KEK never leaves Vault, keys are sent there to be wrapped and unwrapped
 * (`POST /v1/<mount>/encrypt/<key>` and `/decrypt/<key>`, with the context as associated data, which the key types
 * aes256-gcm96 and chacha20-poly1305 authenticate). Keys are unwrapped once, when a node starts; later it needs Vault only to rotate.
 */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { readFile } from 'node:fs/promises';
import { utf8Decode, utf8Encode } from '../base/bytes.ts';
import { ClustorError, messageOf } from '../base/errors.ts';
import {
  keyContextText,
  type KeyContext,
  type KeyProvider,
  type WrappedKey,
} from '../ports/key-provider.ts';

/** Where a transit key is. @public */
export interface VaultKeyOptions {
  /** `https://vault.example:8200`. */
  readonly address: string;
  /** Name of the key in the engine. */
  readonly key: string;
  /** Where the engine is mounted. @defaultValue 'transit' */
  readonly mount?: string;
  /** Vault Enterprise namespace. */
  readonly namespace?: string;
  /** File with the token; read for every call, so that a renewed one counts at once. */
  readonly tokenFile: string;
  /** PEM file with the authority of Vault's certificate. @defaultValue the system's authorities */
  readonly authorityFile?: string;
  /** A call is given up after so many milliseconds. @defaultValue 5,000 */
  readonly timeoutMs?: number;
}

const timeoutMsUsual = 5_000;
const answerBytesMax = 64 * 1024;

/** A provider over a transit key. @public */
export function openVaultKey(options: VaultKeyOptions): KeyProvider {
  return new VaultKeyProvider(options);
}

class VaultKeyProvider implements KeyProvider {
  readonly name: string;
  readonly #options: VaultKeyOptions;
  readonly #kekId: string;

  constructor(options: VaultKeyOptions) {
    this.#options = options;
    this.#kekId = `${options.mount ?? 'transit'}/${options.key}`;
    this.name = `Vault key ${this.#kekId} at ${options.address}`;
    const protocol = URL.canParse(options.address) ? new URL(options.address).protocol : '';
    if (protocol !== 'http:' && protocol !== 'https:')
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `the address of Vault is a URL that begins with https:// or http://, got ${options.address}`,
      );
  }

  async wrap(plain: Uint8Array, context: KeyContext): Promise<WrappedKey> {
    const data = await this.#call('encrypt', context, {
      plaintext: Buffer.from(plain).toString('base64'),
    });
    return { kekId: this.#kekId, bytes: utf8Encode(this.#text(data, 'ciphertext')) };
  }

  async unwrap({ kekId, bytes }: WrappedKey, context: KeyContext): Promise<Uint8Array> {
    if (kekId !== this.#kekId)
      throw new ClustorError(
        'CLUSTOR_KEY_MISSING',
        `the key of epoch ${context.epoch} is wrapped by "${kekId}", not by ${this.name}`,
      );
    const data = await this.#call('decrypt', context, { ciphertext: utf8Decode(bytes) });
    return new Uint8Array(Buffer.from(this.#text(data, 'plaintext'), 'base64'));
  }

  async #call(
    verb: 'encrypt' | 'decrypt',
    context: KeyContext,
    fields: Readonly<Record<string, string>>,
  ): Promise<Readonly<Record<string, unknown>>> {
    const body = JSON.stringify({
      ...fields,
      associated_data: Buffer.from(keyContextText(context)).toString('base64'),
    });
    let answer: { readonly status: number; readonly text: string };
    try {
      answer = await this.#send(verb, body);
    } catch (error) {
      throw this.#unavailable(messageOf(error), error);
    }
    const parsed = parsedAnswer(answer.text);
    if (answer.status === 200 && parsed.data !== undefined) return parsed.data;
    const reason = `${verb} was answered with status ${answer.status}: ${parsed.errors}`;
    // Vault answers 400 to a ciphertext, a context or a key version that does not fit, and 404 where there is no engine.
    if (answer.status === 400 && verb === 'decrypt')
      throw new ClustorError('CLUSTOR_KEY_WRONG', `${this.name}: ${reason}`);
    if (answer.status === 404)
      throw new ClustorError('CLUSTOR_KEY_MISSING', `${this.name}: ${reason}`);
    throw this.#unavailable(reason);
  }

  async #send(
    verb: string,
    body: string,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const { address, key, mount = 'transit', namespace, tokenFile, authorityFile } = this.#options;
    const { timeoutMs = timeoutMsUsual } = this.#options;
    const path = [...mount.split('/'), verb, key].map(encodeURIComponent).join('/');
    const url = new URL(`v1/${path}`, address.endsWith('/') ? address : `${address}/`);
    const token = (await readFile(tokenFile, 'utf8')).trim();
    const authority =
      authorityFile === undefined ? {} : { ca: await readFile(authorityFile, 'utf8') };
    const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const sent = request(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          'X-Vault-Token': token,
          'X-Vault-Request': 'true',
          ...(namespace === undefined ? {} : { 'X-Vault-Namespace': namespace }),
        },
        signal: AbortSignal.timeout(timeoutMs),
        ...authority,
      });
      sent.on('error', reject);
      sent.on('response', (response) => {
        const parts: Buffer[] = [];
        let length = 0;
        response.on('data', (part: Buffer) => {
          length += part.length;
          parts.push(part);
          if (length > answerBytesMax) response.destroy(new Error('the answer is too long'));
        });
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(parts).toString('utf8');
          resolve({ status: response.statusCode ?? 0, text });
        });
      });
      sent.end(body);
    });
  }

  #text(data: Readonly<Record<string, unknown>>, field: string): string {
    const value = data[field];
    if (typeof value === 'string' && value !== '') return value;
    throw this.#unavailable(`the answer has no ${field}`);
  }

  #unavailable(reason: string, cause?: unknown): ClustorError {
    return new ClustorError('CLUSTOR_KEY_PROVIDER_UNAVAILABLE', `${this.name}: ${reason}`, {
      cause,
    });
  }
}

function parsedAnswer(text: string): {
  readonly data: Readonly<Record<string, unknown>> | undefined;
  readonly errors: string;
} {
  try {
    const { data, errors } = JSON.parse(text) as {
      readonly data?: Readonly<Record<string, unknown>>;
      readonly errors?: readonly unknown[];
    };
    return { data, errors: Array.isArray(errors) ? errors.map(String).join('; ') : 'no reason' };
  } catch {
    return { data: undefined, errors: 'the answer is no JSON' };
  }
}
