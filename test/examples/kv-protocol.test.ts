import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { globMatcher, patternBytesMax } from '../../examples/kv/glob.ts';
import { splitWords } from '../../examples/kv/kv-text.ts';
import {
  encodeReply,
  encodeRequest,
  RequestParser,
  requestLimits,
  type ParsedRequest,
} from '../../examples/kv/redis-protocol.ts';

const bytesArbitrary = fc
  .uint8Array({ maxLength: 30 })
  .map((bytes) => Buffer.from(bytes).toString('latin1'));
const requestsArbitrary = fc.array(fc.array(bytesArbitrary, { minLength: 1, maxLength: 5 }), {
  maxLength: 6,
});

function parseAll(parser: RequestParser, chunks: readonly Buffer[]): readonly ParsedRequest[] {
  const found: ParsedRequest[] = [];
  for (const chunk of chunks) {
    parser.push(chunk);
    for (let next = parser.next(); next !== undefined; next = parser.next()) found.push(next);
  }
  return found;
}

function cut(bytes: Buffer, places: readonly number[]): readonly Buffer[] {
  const sorted = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length];
  sorted.sort((left, right) => left - right);
  return sorted.slice(1).map((end, position) => bytes.subarray(sorted[position], end));
}

function wordsOf(found: readonly ParsedRequest[]): readonly (readonly string[] | string)[] {
  return found.map((each) => (each.kind === 'request' ? each.words : each.text));
}

describe('request parser', () => {
  test('requests come out whole wherever the stream is cut', () => {
    fc.assert(
      fc.property(requestsArbitrary, fc.array(fc.nat()), (requests, places) => {
        const bytes = Buffer.from(requests.map(encodeRequest).join(''), 'latin1');
        const parser = new RequestParser();

        const found = parseAll(parser, cut(bytes, places));

        expect(wordsOf(found)).toEqual(requests);
        expect(parser.pendingBytes).toBe(0);
      }),
    );
  });

  test('a long word that comes byte by byte is not copied again and again', () => {
    const request = ['SET', 'key', 'v'.repeat(256 * 1024)];
    const bytes = Buffer.from(encodeRequest(request), 'latin1');
    const parser = new RequestParser();
    const before = process.memoryUsage().arrayBuffers;
    let held = 0;
    const found: ParsedRequest[] = [];
    for (let at = 0; at < bytes.length; at++) {
      found.push(...parseAll(parser, [bytes.subarray(at, at + 1)]));
      if (at % 1024 === 0) held = Math.max(held, process.memoryUsage().arrayBuffers - before);
    }

    expect(wordsOf(found)).toEqual([request]);
    expect(held).toBeLessThan(16 * bytes.length);
  });

  test('one cut at every byte changes nothing', () => {
    const text = `${encodeRequest(['SET', 'a\r\n', '\x00\xff'])}*0\r\nPING "x y"\r\n\r\n${encodeRequest(['GET', ''])}`;
    const bytes = Buffer.from(text, 'latin1');

    for (let place = 0; place <= bytes.length; place++) {
      const found = parseAll(new RequestParser(), cut(bytes, [place]));

      expect(wordsOf(found)).toEqual([
        ['SET', 'a\r\n', '\x00\xff'],
        ['PING', 'x y'],
        ['GET', ''],
      ]);
    }
  });

  test('the bytes of a request are counted', () => {
    const [found] = parseAll(new RequestParser(), [Buffer.from('*1\r\n$4\r\nPING\r\n')]);

    expect(found).toMatchObject({ bytes: 14 });
  });

  test('any bytes give requests or one protocol error, cut or not', () => {
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
      fc
        .array(fc.constantFrom('*', '$', '1', '-', '3', '\r\n', '\n', '"', 'x', '2147483648'))
        .map((parts) => Buffer.from(parts.join(''))),
    );
    fc.assert(
      fc.property(noise, fc.array(fc.nat()), (bytes, places) => {
        const whole = parseAll(new RequestParser(), [bytes]);

        expect(parseAll(new RequestParser(), cut(bytes, places))).toEqual(whole);
        expect(whole.slice(0, -1).every((each) => each.kind === 'request')).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    ['*x\r\n', 'invalid multibulk length'],
    ['*1048577\r\n', 'invalid multibulk length'],
    ['*99999999999999999999999999999999999\r\n', 'invalid multibulk length'],
    ['*1\r\n:1\r\n', "expected '$', got ':'"],
    ['*1\r\n$-1\r\n', 'invalid bulk length'],
    ['*1\r\n$524289\r\n', 'invalid bulk length'],
    ['*1\r\n$1\r\nab\r\n', 'expected CRLF behind a bulk string'],
    ['GET "a\r\n', 'unbalanced quotes in request'],
    ['x'.repeat(requestLimits.lineBytesMax + 1), 'too big inline request'],
  ])('%j is a protocol error', (text, reason) => {
    const parser = new RequestParser();

    const found = parseAll(parser, [Buffer.from(text), Buffer.from('PING\r\n')]);

    expect(found).toEqual([{ kind: 'protocolError', text: `ERR Protocol error: ${reason}` }]);
    expect(parser.pendingBytes).toBeLessThanOrEqual(6);
  });

  test('a request of many words that are large together is refused before they are all kept', () => {
    const word = `$524288\r\n${'x'.repeat(524_288)}\r\n`;
    const parser = new RequestParser();

    const found = parseAll(parser, [
      Buffer.from('*100\r\n'),
      ...Array.from({ length: 20 }, () => Buffer.from(word)),
    ]);

    expect(wordsOf(found)).toEqual(['ERR Protocol error: request too large']);
  });
});

describe('replies', () => {
  test('nil, sets and maps have a form of their own in version 3 only', () => {
    const map = {
      kind: 'map',
      entries: [[{ kind: 'bulk', bytes: 'a' }, { kind: 'nil' }]],
    } as const;

    expect(encodeReply(map, 2)).toBe('*2\r\n$1\r\na\r\n$-1\r\n');
    expect(encodeReply(map, 3)).toBe('%1\r\n$1\r\na\r\n_\r\n');
    expect(encodeReply({ kind: 'set', items: [{ kind: 'ok' }] }, 2)).toBe('*1\r\n+OK\r\n');
    expect(encodeReply({ kind: 'set', items: [{ kind: 'ok' }] }, 3)).toBe('~1\r\n+OK\r\n');
  });

  test('an error stays on its line', () => {
    expect(encodeReply({ kind: 'error', text: 'ERR a\r\n+OK – b' }, 2)).toBe('-ERR a  +OK ? b\r\n');
  });
});

describe('inline words', () => {
  test.each([
    ['set a 1', ['set', 'a', '1']],
    ['  set\ta   "" ', ['set', 'a', '']],
    ['set "a b" \'c d\'', ['set', 'a b', 'c d']],
    ['"\\x00\\xff\\n\\"\\\\\\q"', ['\x00\xff\n"\\q']],
    ["'\\'\\n'", ["'\\n"]],
    ['', []],
  ])('%j splits into %j', (line, words) => {
    expect(splitWords(line)).toEqual(words);
  });

  test.each(['"a', "'a", '"a"b', '"a\\'])('%j has unbalanced quotes', (line) => {
    expect(splitWords(line)).toBeUndefined();
  });
});

describe('patterns', () => {
  test.each([
    ['*', '', true],
    ['*', 'anything', true],
    ['h?llo', 'hello', true],
    ['h?llo', 'hllo', false],
    ['h*llo', 'heeeello', true],
    ['h[ae]llo', 'hallo', true],
    ['h[ae]llo', 'hillo', false],
    ['h[^e]llo', 'hallo', true],
    ['h[^e]llo', 'hello', false],
    ['h[a-c]llo', 'hbllo', true],
    ['h[c-a]llo', 'hbllo', true],
    ['a\\*', 'a*', true],
    ['a\\*', 'ab', false],
    ['*a*b', 'xaxxab', true],
    ['*a*b', 'xaxxac', false],
    ['a**', 'a', true],
    ['', 'a', false],
    ['[abc', 'b', true],
    ['[^', 'b', true],
    ['[\\]-a]x', '^x', true],
    ['\\', '\\', true],
    ['?\xff[\x80-\xff]', 'a\xff\x90', true],
    ['a*', 'b', false],
    [`${'?'.repeat(31)}*z`, `${'y'.repeat(40)}z`, true],
    [`${'?'.repeat(63)}[yz]`, 'y'.repeat(64), true],
    ['?'.repeat(64), 'y'.repeat(65), false],
  ])('%j against %j is %j', (pattern, text, expected) => {
    expect(globMatcher(pattern)(text)).toBe(expected);
  });

  test('many stars do not take exponential time', () => {
    expect(globMatcher(`${'a*'.repeat(30)}b`)('a'.repeat(2_000))).toBe(false);
  });

  test('the longest pattern does not go back over a long key', () => {
    const matches = globMatcher(`*${'a'.repeat(patternBytesMax - 3)}b*`);
    const startedAtMs = performance.now();

    expect(matches('a'.repeat(524_288))).toBe(false);
    expect(performance.now() - startedAtMs).toBeLessThan(1_000);
  });
});
