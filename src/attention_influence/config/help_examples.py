"""Two examples of each subcommand, for the end of its help."""

_MODEL = "--model HuggingFaceTB/SmolLM2-135M"

EXAMPLES = {
    "detect": f"""\
  attention-influence detect {_MODEL} \\
      --sentences texts/
  attention-influence detect --model ./my-model --method ablation \\
      --tasks gsm8k --items my-items.jsonl --out ablation.json""",
    "stability": f"""\
  attention-influence stability {_MODEL} \\
      --sentences texts/
  attention-influence stability --model ./my-model --sentences news.jsonl \\
      --sentences code.jsonl --contexts 512,1024 --seeds 5""",
    "validate": f"""\
  attention-influence validate {_MODEL} \\
      --sentences texts/ --heads heads.json
  attention-influence validate --model ./my-model --sentences texts/ \\
      --benchmarks gsm8k,mmlu --corpus corpus/ --domain-column domain""",
    "lm-eval": f"""\
  attention-influence lm-eval {_MODEL} \\
      --heads heads.json --tasks hellaswag,gsm8k --limit 100
  attention-influence lm-eval --model ./my-model --tasks my_task \\
      --include-path my-tasks/ --mask none,chosen --num-fewshot 0""",
    "score": f"""\
  attention-influence score corpus/ {_MODEL} \\
      --heads heads.json --out scores
  attention-influence score s3://bucket/web/ s3://bucket/code/ \\
      --domain web --domain code --model ./my-model --dtype float32 \\
      --out s3://bucket/scores""",
    "estimate": f"""\
  attention-influence estimate corpus/ {_MODEL} \\
      --heads heads.json
  attention-influence estimate corpus/ --model ./my-model \\
      --sample-tokens 200000 --top 0.1 --screen""",
    "status": """\
  attention-influence status scores
  attention-influence status s3://bucket/scores --json""",
    "select": """\
  attention-influence select scores --top 0.2 --out selected
  attention-influence select scores --tokens 3e9 --cap web=0.5 \\
      --rank-by influence*0.7+edu*0.3 --out mixed""",
    "step-weights": """\
  attention-influence step-weights scores --out train.jsonl
  attention-influence step-weights scores --selection selected \\
      --prompt-end 'Answer:' --uniform 0.2 --out train.jsonl""",
    "annotate": """\
  attention-influence annotate scores edu --column edu_score
  attention-influence annotate scores quality \\
      --positive good/ --negative bad/""",
    "distill": """\
  attention-influence distill scores --out student.safetensors
  attention-influence distill scores/calibration --documents 5000""",
    "compare": """\
  attention-influence compare scores --against perplexity --against random
  attention-influence compare scores other-scores --top 0.1""",
    "explain": f"""\
  attention-influence explain scores --key corpus/a.jsonl:0 --out page.html
  attention-influence explain --file essay.txt \\
      {_MODEL} --heads heads.json""",
    "judge": f"""\
  attention-influence judge scores --endpoint https://api.openai.com/v1 \\
      --judge-model gpt-4o --rank-by influence,random,perplexity
  attention-influence judge selected {_MODEL} \\
      --sample 50""",
    "experiment": """\
  attention-influence experiment arms.yaml --dry-run
  attention-influence experiment arms.yaml --out runs --workers 4""",
    "report": """\
  attention-influence report scores --heads heads.json --selection selected
  attention-influence report scores --heads heads.json \\
      --model ./my-model --out page.html""",
    "demo": """\
  attention-influence demo
  attention-influence demo --size full --out full-demo""",
}
