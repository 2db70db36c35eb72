import fc from "fast-check";
import { expect, test } from "vitest";
import { InvalidTokenError, type TokenPurpose, Tokens } from "./tokens.ts";

const numRuns = 500 * Number(process.env.FUZZ_FACTOR ?? 1);
const NOW = new Date("2026-03-01T12:00:00Z");
const tokens = new Tokens("a secret of enough bytes");
const purpose = fc.constantFrom<TokenPurpose>("confirm", "manage", "unsubscribe", "voter");
const subject = fc.stringMatching(/^[\w-]{1,40}$/);

test("no text that we did not sign is a token", () => {
  fc.assert(
    fc.property(
      purpose,
      fc.oneof(fc.string({ unit: "binary" }), fc.stringMatching(/^[\w-]+\.[0-9a-z]+\.[\w-]{43}$/)),
      (use, text) => {
        expect(() => tokens.verify(use, text, NOW)).toThrow(InvalidTokenError);
      },
    ),
    { numRuns },
  );
});

test("a token with any character changed, put in or left out is refused; the whole one is not", () => {
  const change = fc.record({ at: fc.nat(), cut: fc.nat(2), insert: fc.string({ maxLength: 2 }) });
  fc.assert(
    fc.property(purpose, subject, change, (use, about, { at, cut, insert }) => {
      const token = tokens.sign(use, about, 60, NOW);
      expect(tokens.verify(use, token, NOW)).toBe(about);
      const place = at % (token.length + 1);
      const other = token.slice(0, place) + insert + token.slice(place + cut);
      fc.pre(other !== token);
      expect(() => tokens.verify(use, other, NOW)).toThrow(InvalidTokenError);
    }),
    { numRuns },
  );
});

test("a token is worthless for another purpose, with another secret, and when its time is over", () => {
  const others = new Tokens("another secret, also long");
  fc.assert(
    fc.property(purpose, purpose, subject, fc.nat(100), (use, abuse, about, lifetime) => {
      const token = tokens.sign(use, about, lifetime, NOW);
      if (use !== abuse) expect(() => tokens.verify(abuse, token, NOW)).toThrow(InvalidTokenError);
      expect(() => others.verify(use, token, NOW)).toThrow(InvalidTokenError);
      const late = new Date(NOW.getTime() + (lifetime + 1) * 1000);
      expect(() => tokens.verify(use, token, late)).toThrow(InvalidTokenError);
    }),
    { numRuns },
  );
});
