import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeShop } from './openapi/describe.js';
import { pathOf, textOf, topFolder } from './openapi/document.js';
import { referenceOf, referencePath } from './openapi/reference.js';

/** Writes a file of the workspace, and says whether it is another than before. */
async function keep(name: string, text: string): Promise<void> {
  const path = join(topFolder, name);
  const before = await readFile(path, 'utf8').catch(() => undefined);
  if (before !== text) await writeFile(path, text);
  console.log(`${name} ${before === text ? 'is as it was' : 'is written'}.`);
}

const documents = await describeShop();
for (const [service, document] of documents) await keep(pathOf(service), textOf(document));
await keep(referencePath, referenceOf(documents));
