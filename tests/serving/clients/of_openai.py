"""What programs do with the openai and langchain-openai packages: python of_openai.py BASE_URL, prints JSON."""

import json
import sys

import openai
from langchain_openai import OpenAI, OpenAIEmbeddings

base = sys.argv[1]
client = openai.OpenAI(base_url=f'{base}/v1', api_key='none', max_retries=0)
seen: dict[str, object] = {'models': [model.id for model in client.models.list()]}

asked = dict(model='gpt', prompt='copy', max_tokens=8, temperature=0)
whole = client.completions.create(**asked)
seen['completion'] = whole.choices[0].text
chunks = list(client.completions.create(**asked, stream=True, stream_options={'include_usage': True}))
seen['streamed'] = ''.join(chunk.choices[0].text for chunk in chunks if chunk.choices)
seen['usage'] = [whole.usage.completion_tokens, chunks[-1].usage.completion_tokens]
several = client.completions.create(**asked | dict(prompt=['copy', 'co'], n=2, logprobs=2, echo=True))
seen['several'] = [choice.text for choice in several.choices]
seen['logprobs'] = [len(choice.logprobs.tokens) for choice in several.choices]

vectors = lambda **options: client.embeddings.create(model='small', input=['read a folder', 'archives'], **options)
seen['base64'] = [row.embedding for row in vectors().data]  # which the package asks for, and decodes
seen['float'] = [row.embedding for row in vectors(encoding_format='float').data]
seen['langchain vectors'] = OpenAIEmbeddings(
  base_url=f'{base}/v1', api_key='none', model='small', check_embedding_ctx_length=False
).embed_documents(['read a folder', 'archives'])

writer = OpenAI(base_url=f'{base}/v1', api_key='none', model='gpt', max_tokens=8, temperature=0)
seen['langchain'] = writer.invoke('copy')
seen['langchain batch'] = writer.batch(['copy', 'copy'])
seen['langchain streamed'] = ''.join(writer.stream('copy'))


def refused(call) -> list[object]:
  try:
    call()
  except openai.APIStatusError as error:
    return [type(error).__name__, error.status_code, error.body['message'] if error.body else None]
  return ['was not refused']


seen['refused'] = {
  'model': refused(lambda: client.completions.create(**asked | dict(model='nobody'))),
  'prompt': refused(lambda: client.completions.create(**asked | dict(prompt=[['a'], [1.5]]))),
  'suffix': refused(lambda: client.completions.create(**asked, suffix='!')),
  'chat': refused(lambda: client.chat.completions.create(model='gpt', messages=[{'role': 'user', 'content': 'a'}])),
  'responses': refused(lambda: client.responses.create(model='gpt', input='a')),
  'token ids': refused(
    lambda: OpenAIEmbeddings(base_url=f'{base}/v1', api_key='none', model='small').client.create(
      model='small', input=[[1, 2]]
    )
  ),
}
print(json.dumps(seen))
