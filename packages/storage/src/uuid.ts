const uuidLength = 36;
const hyphen = 0x2d;

/** Reads a UUID into four words; false, with the words spoilt, if it is not one in lower case. */
export function readUuid(text: string, words: Uint32Array): boolean {
  if (text.length !== uuidLength) return false;
  let digits = 0;
  let bits = 0;
  for (let position = 0; position < uuidLength; position += 1) {
    const code = text.charCodeAt(position);
    if (position === 8 || position === 13 || position === 18 || position === 23) {
      if (code !== hyphen) return false;
      continue;
    }
    const digit = code >= 0x61 ? code - 0x57 : code - 0x30;
    if (digit < 0 || digit > 15 || (digit > 9 && code < 0x61)) return false;
    bits = (bits << 4) | digit;
    digits += 1;
    if (digits % 8 === 0) words[digits / 8 - 1] = bits;
  }
  return true;
}

export function writeUuid(words: Uint32Array): string {
  const bytes = Buffer.allocUnsafe(16);
  for (let index = 0; index < 4; index += 1) bytes.writeUInt32BE(words[index] ?? 0, index * 4);
  const part = (from: number, to: number) => bytes.toString('hex', from, to);
  return `${part(0, 4)}-${part(4, 6)}-${part(6, 8)}-${part(8, 10)}-${part(10, 16)}`;
}
