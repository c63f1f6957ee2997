"""python run.py [overrides]: compose the experiment and do the task it names. See README.md and conf/config.yaml."""

from sparring.cli import main

if __name__ == "__main__":
    main()
